//! Who may read: ARNs of users, roles and accounts.

use super::InvalidSetup;

const ACCOUNT_DIGITS: usize = 12;

/// The readers, each once, in order; the first that is no ARN of one principal is an error.
pub(super) fn checked(readers: &[String]) -> Result<Vec<String>, InvalidSetup> {
    if let Some(wrong) = readers.iter().find(|reader| !is_principal(reader)) {
        return Err(InvalidSetup(format!(
            "--reader `{wrong}` is no ARN of a user, role or account: write arn:aws:iam::123456789012:role/name, or \
             …:root for a whole account"
        )));
    }
    let mut readers = readers.to_vec();
    readers.sort();
    readers.dedup();
    Ok(readers)
}

fn is_principal(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, service, "", account, resource] = parts[..] else { return false };
    let partition = matches!(partition, "aws" | "aws-cn" | "aws-us-gov" | "aws-iso" | "aws-iso-b");
    let account = account.len() == ACCOUNT_DIGITS && account.bytes().all(|byte| byte.is_ascii_digit());
    let named = |kinds: &[&str]| {
        let name = kinds.iter().find_map(|kind| resource.strip_prefix(kind)?.strip_prefix('/'));
        name.is_some_and(is_name)
    };
    let resource = match service {
        "iam" => resource == "root" || named(&["user", "role"]),
        "sts" => named(&["assumed-role", "federated-user"]),
        _ => false,
    };
    partition && account && resource
}

/// A name with its path: no wildcard, no empty part.
fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-/".contains(&byte);
    name.bytes().all(letter) && name.split('/').all(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_arns_of_principals_are_readers() {
        for good in [
            "arn:aws:iam::123456789012:root",
            "arn:aws:iam::123456789012:user/partner",
            "arn:aws:iam::123456789012:role/service-role/reader.x+y=z@a_b-c",
            "arn:aws-cn:iam::123456789012:role/reader",
            "arn:aws:sts::123456789012:assumed-role/reader/session",
        ] {
            assert!(is_principal(good), "{good}");
        }
        for wrong in [
            "",
            "*",
            "123456789012",
            "arn:aws:iam::*:root",
            "arn:aws:iam::12345678901:root",
            "arn:aws:iam::123456789012:*",
            "arn:aws:iam::123456789012:role/*",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role//x",
            "arn:aws:iam::123456789012:group/x",
            "arn:aws:iam:us-east-1:123456789012:role/x",
            "arn:aws:s3:::bucket",
            "arn:aws:iam::123456789012:role/x\"y",
            " arn:aws:iam::123456789012:root",
        ] {
            assert!(!is_principal(wrong), "{wrong}");
        }
        let twice = ["arn:aws:iam::123456789012:root".to_owned(), "arn:aws:iam::123456789012:root".to_owned()];
        assert_eq!(checked(&twice).unwrap().len(), 1);
    }
}
