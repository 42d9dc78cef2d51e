//! How an error is shown with its causes, and a panic.

use std::any::Any;
use std::error::Error;

/// The error's text and those of its causes, outermost first. A cause whose words stand in an earlier text already is
/// left out: libraries like to print their causes themselves.
pub fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut texts: Vec<String> = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !texts.iter().any(|said| said.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    texts
}

/// The error and its causes on one line, each said once: `open the store: connect: connection refused`.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).join(": ")
}

/// What a panic said: `panic!` leaves a `String` or a `&str`, and other payloads say nothing.
pub fn panic_text(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().copied().unwrap_or("without a word").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|layer| layer as _)
        }
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let (first, rest) = texts.split_first().expect("there is a layer");
        Layer(first, (!rest.is_empty()).then(|| Box::new(layers(rest))))
    }

    #[test]
    fn each_cause_is_said_once() {
        for (texts, shown) in [
            (&["open"][..], "open"),
            (&["open", "connect", "refused"], "open: connect: refused"),
            (&["open: connect: refused", "connect: refused", "refused"], "open: connect: refused"),
            (&["open", "connect: refused", "refused", "os error 111"], "open: connect: refused: os error 111"),
            (&["open", "", "refused"], "open: refused"),
        ] {
            assert_eq!(chain(&layers(texts)), shown);
        }
    }

    #[test]
    fn a_panic_is_told_however_it_was_raised() {
        let said = |panic: fn()| panic_text(std::panic::catch_unwind(panic).unwrap_err());
        assert_eq!(said(|| std::panic::resume_unwind(Box::new("a text"))), "a text");
        assert_eq!(said(|| std::panic::resume_unwind(Box::new(format!("text {}", 2)))), "text 2");
        assert_eq!(said(|| std::panic::resume_unwind(Box::new(7))), "without a word");
    }
}
