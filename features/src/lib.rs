//! The features, one file each, and the one visible list of them.
//!
//! A new feature is a new file, written by looking at any of these, and one line in [`all`].

mod ad_network_spend;
mod device_last_browse;
mod user_last_login;
mod user_num_posts;
mod user_segments;
mod user_sites;

use std::sync::Arc;

use neartime_engine::Feature;

pub use ad_network_spend::AdNetworkSpend;
pub use device_last_browse::DeviceLastBrowse;
pub use user_last_login::UserLastLogin;
pub use user_num_posts::UserNumPosts;
pub use user_segments::UserSegments;
pub use user_sites::UserSites;

/// Every feature; one runs where its source is configured with the columns that it reads.
pub fn all() -> Vec<Arc<dyn Feature>> {
    vec![
        Arc::new(UserLastLogin),
        Arc::new(DeviceLastBrowse),
        Arc::new(UserNumPosts),
        Arc::new(UserSegments),
        Arc::new(UserSites),
        Arc::new(AdNetworkSpend),
    ]
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod twins;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<String> = all().iter().map(|feature| feature.name().to_owned()).collect();
        assert_eq!(names.len(), all().len());
    }
}
