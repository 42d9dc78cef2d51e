//! What messages and records tell: never a panic, never an object without a name, and keys decoded as others do.

#![no_main]

use libfuzzer_sys::fuzz_target;
use neartime_fuzz::channel::{Notice, form_decoded, keys_of_record, notice_of_message};
use neartime_fuzz::key_path::{key_of_path, path_of_key};
use percent_encoding::percent_decode_str;

fn check(notice: &Notice) {
    for object in &notice.objects {
        assert!(!object.key.is_empty());
        assert_eq!(key_of_path(&path_of_key(&object.key)), object.key);
        assert!(object.bucket.as_ref().is_none_or(|bucket| !bucket.is_empty()));
        assert!(object.etag.as_ref().is_none_or(|etag| !etag.is_empty()));
    }
}

fuzz_target!(|data: &[u8]| {
    check(&keys_of_record(data));
    let Ok(text) = std::str::from_utf8(data) else { return };
    check(&notice_of_message(text));
    let theirs = percent_decode_str(&text.replace('+', " ")).decode_utf8().ok().map(|text| text.into_owned());
    assert_eq!(form_decoded(text), theirs);
});
