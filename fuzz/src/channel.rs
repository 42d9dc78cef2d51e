//! What messages and records tell.

mod keys;
mod notice;

pub use keys::keys_of_record;
pub use notice::{Notice, form_decoded, notice_of_message};
