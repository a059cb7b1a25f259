//! Length and character rules for text that people type.

use thiserror::Error;

/// The message says what is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TextError {
    /// In characters (Unicode scalar values).
    #[error("must be {min} to {max} characters long, not {found}")]
    Length { min: usize, max: usize, found: usize },
    #[error("must not contain control characters (found U+{0:04X})")]
    Control(u32),
    /// PostgreSQL cannot store NUL in text.
    #[error("must not contain the character U+0000")]
    Nul,
}

/// For names (flag keys, environments): 1 to `max` characters, no control characters.
pub fn check_name(text: &str, max: usize) -> Result<(), TextError> {
    check_length(text, 1, max)?;
    match text.chars().find(|c| c.is_control()) {
        Some(control) => Err(TextError::Control(control.into())),
        None => Ok(()),
    }
}

/// For prose (reasons): at most `max` characters, stored as typed, line breaks included; only NUL is rejected.
pub fn check_prose(text: &str, max: usize) -> Result<(), TextError> {
    check_length(text, 0, max)?;
    if text.contains('\0') { Err(TextError::Nul) } else { Ok(()) }
}

fn check_length(text: &str, min: usize, max: usize) -> Result<(), TextError> {
    let found = text.chars().count();
    if (min..=max).contains(&found) { Ok(()) } else { Err(TextError::Length { min, max, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_counted_in_characters_not_bytes() {
        assert_eq!(check_name(&"é".repeat(100), 100), Ok(()));
        assert_eq!(
            check_name(&"é".repeat(101), 100),
            Err(TextError::Length { min: 1, max: 100, found: 101 })
        );
        assert_eq!(check_name("", 100), Err(TextError::Length { min: 1, max: 100, found: 0 }));
    }

    #[test]
    fn a_name_has_no_control_characters() {
        assert_eq!(check_name("a\u{1b}[31m", 100), Err(TextError::Control(0x1b)));
        assert_eq!(check_name("right\u{202e}left", 100), Ok(()));
    }

    #[test]
    fn prose_keeps_its_line_breaks_but_not_nul() {
        assert_eq!(check_prose("first\r\nsecond\t\u{1b}[0m", 500), Ok(()));
        assert_eq!(check_prose("a\0b", 500), Err(TextError::Nul));
        assert_eq!(check_prose("", 500), Ok(()));
    }
}
