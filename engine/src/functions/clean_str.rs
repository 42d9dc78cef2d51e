//! `clean_str(text)`.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, AsArray, StringViewArray, StringViewBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::prelude::Expr;
use datafusion::scalar::ScalarValue;

/// Drops control characters, then trims white space (Unicode's), and turns what is then empty into null.
///
/// It never folds case: ids are case-sensitive. Ints and bools are taken as text. The result is Utf8View.
pub fn clean_str(text: Expr) -> Expr {
    clean_str_udf().call(vec![text])
}

/// The function behind [`clean_str`].
pub fn clean_str_udf() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::from(CleanStr { signature: Signature::user_defined(Volatility::Immutable) }))
    });
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CleanStr {
    signature: Signature,
}

impl ScalarUDFImpl for CleanStr {
    fn name(&self) -> &str {
        "clean_str"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [one] if is_text_like(one) => Ok(vec![DataType::Utf8View]),
            _ => datafusion::common::plan_err!("clean_str takes one text, int or bool, not {types:?}"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match &args.args[0] {
            ColumnarValue::Array(texts) => {
                let texts = cast(texts, &DataType::Utf8View)?;
                Ok(ColumnarValue::Array(Arc::new(clean(texts.as_string_view())?)))
            }
            ColumnarValue::Scalar(text) => {
                let cleaned = text.try_as_str().flatten().and_then(cleaned).map(Cow::into_owned);
                Ok(ColumnarValue::Scalar(ScalarValue::Utf8View(cleaned)))
            }
        }
    }
}

fn is_text_like(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_text_like(values),
        other => other.is_string() || other.is_integer() || other.is_null() || *other == DataType::Boolean,
    }
}

/// Cleans a column; one that is clean already is returned as it is, and clean or trimmed values keep their bytes.
fn clean(texts: &StringViewArray) -> Result<StringViewArray> {
    let Some(first) = (0..texts.len()).find(|&row| texts.is_valid(row) && !is_clean(texts.value(row))) else {
        return Ok(texts.clone());
    };
    let mut builder = StringViewBuilder::with_capacity(texts.len());
    let blocks: Vec<u32> = texts.data_buffers().iter().map(|buffer| builder.append_block(buffer.clone())).collect();
    for (row, text) in texts.iter().enumerate() {
        match text.and_then(|text| if row < first { Some(Cow::Borrowed(text)) } else { cleaned(text) }) {
            None => builder.append_null(),
            Some(Cow::Borrowed(text)) if text.len() > INLINE => {
                let view = texts.views()[row];
                let block = usize::try_from((view >> 64) as u32).expect("a buffer index fits");
                let start = texts.data_buffers()[block].as_ptr() as usize;
                let offset = u32::try_from(text.as_ptr() as usize - start).expect("views address 4 GiB");
                builder.try_append_view(blocks[block], offset, u32::try_from(text.len()).expect("so are lengths"))?;
            }
            Some(text) => builder.append_value(text),
        }
    }
    Ok(builder.finish())
}

/// The longest text that a view holds within itself.
const INLINE: usize = 12;

/// Whether there is nothing to do: the common case, decided on bytes.
fn is_clean(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if is_printable(bytes) {
        *first != b' ' && *last != b' '
    } else {
        matches!(cleaned(text), Some(Cow::Borrowed(same)) if same.len() == text.len())
    }
}

/// Whether all bytes are ASCII and none a control character; looked at in words, since each text of each row comes by.
fn is_printable(bytes: &[u8]) -> bool {
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) if bytes.len() <= 16 => are_printable(*first) & are_printable(*last),
        (Some(_), Some(last)) => {
            let (words, _) = bytes.as_chunks();
            words.iter().all(|word| are_printable(*word)) && are_printable(*last)
        }
        _ => bytes.iter().all(|byte| (0x20..0x7f).contains(byte)),
    }
}

fn are_printable(word: [u8; 8]) -> bool {
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let of = |byte: u8| u64::from_ne_bytes([byte; 8]);
    let word = u64::from_ne_bytes(word);
    let below_space = word.wrapping_sub(of(0x20)) & !word;
    let delete = (word ^ of(0x7f)).wrapping_sub(of(1)) & !(word ^ of(0x7f));
    (word | below_space | delete) & HIGH == 0
}

fn cleaned(text: &str) -> Option<Cow<'_, str>> {
    let cleaned = if text.contains(char::is_control) {
        let kept: String = text.chars().filter(|c| !c.is_control()).collect();
        // Control characters go first, or a space behind one would survive the trim.
        Cow::Owned(kept.trim().to_owned())
    } else {
        Cow::Borrowed(text.trim())
    };
    (!cleaned.is_empty()).then_some(cleaned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::call;

    fn check(given: Vec<Option<&str>>, expected: Vec<Option<&str>>) {
        let cleaned = call(&clean_str_udf(), Arc::new(StringViewArray::from(given)));
        assert_eq!(cleaned.as_string_view(), &StringViewArray::from(expected));
    }

    #[test]
    fn trims_drops_control_characters_and_empties_to_null() {
        check(
            vec![Some("c360f89568"), Some("  gh "), Some("\u{0}a\tb\u{85}"), Some(" \u{3000}"), Some(""), None],
            vec![Some("c360f89568"), Some("gh"), Some("ab"), None, None, None],
        );
        check(vec![Some("\u{a0}Zürich\u{2003}"), Some("\u{1} x")], vec![Some("Zürich"), Some("x")]);
    }

    #[test]
    fn what_is_printable_is_told_by_words_as_by_bytes() {
        for length in 0..40 {
            assert!(is_printable(&vec![b'~'; length]));
            for at in 0..length {
                for byte in [0, 0x1f, 0x20, b'a', 0x7e, 0x7f, 0x80, 0xff] {
                    let mut bytes = vec![b'!'; length];
                    bytes[at] = byte;
                    assert_eq!(is_printable(&bytes), (0x20..0x7f).contains(&byte), "{byte:#x} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn keeps_case_and_long_values_of_several_buffers() {
        let long = "An-Id-That-Is-Longer-Than-A-View-Holds";
        let padded = format!("  {long} ");
        let control = format!("{long}\u{7}");
        check(vec![Some(long), Some(&padded), Some(&control)], vec![Some(long); 3]);
    }

    #[test]
    fn cleaning_twice_is_cleaning_once() {
        for text in ["\u{0} \u{1} x \u{2} ", " \t\n ", "a\u{200b} ", "\u{feff}id"] {
            let once = cleaned(text).map(Cow::into_owned);
            let twice = once.as_deref().and_then(cleaned).map(Cow::into_owned);
            assert_eq!(once, twice, "{text:?}");
        }
    }
}
