//! The grammar of JSON, over bytes: where strings, numbers and containers end.
//!
//! Text is looked at 8 or 16 bytes at a time. Bytes that are no UTF-8 are no breach of the grammar: whoever wants the
//! value finds out. Nesting is kept on a stack of our own, so that no depth can overflow the thread's.

/// The text breaks JSON's grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breach;

/// A string that was passed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Str {
    /// The position behind its closing quote.
    pub(crate) end: usize,
    /// Whether it has escapes.
    pub(crate) escaped: bool,
}

/// The byte at `pos`; behind the text NUL, which JSON allows nowhere.
#[inline(always)]
pub(crate) fn byte(text: &[u8], pos: usize) -> u8 {
    text.get(pos).copied().unwrap_or(0)
}

/// The position behind the byte `wanted`.
#[inline(always)]
pub(crate) fn expect(text: &[u8], pos: usize, wanted: u8) -> Result<usize, Breach> {
    if byte(text, pos) == wanted { Ok(pos + 1) } else { Err(Breach) }
}

/// The position of the first byte from `pos` on that is no white space.
#[inline(always)]
pub(crate) fn skip_space(text: &[u8], mut pos: usize) -> usize {
    while byte(text, pos) <= b' ' && matches!(text.get(pos), Some(b' ' | b'\t' | b'\r' | b'\n')) {
        pos += 1;
    }
    pos
}

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);

/// Sets the high bit of the bytes that end a run of plain text: quotes, backslashes and control characters. Bits above
/// the lowest one set may be wrong.
#[inline(always)]
fn special(word: u64) -> u64 {
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero(word ^ (ONES * b'"' as u64));
    let backslash = zero(word ^ (ONES * b'\\' as u64));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGH
}

/// The position of the first quote, backslash or control character from `pos` on, or the end of the text.
#[inline(always)]
fn plain_end(text: &[u8], mut pos: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    while let Some(chunk) = text.get(pos..).and_then(|rest| rest.first_chunk::<16>()) {
        let found = special_of_16(chunk);
        if found != 0 {
            return pos + found.trailing_zeros() as usize;
        }
        pos += 16;
    }
    while let Some(chunk) = text.get(pos..).and_then(|rest| rest.first_chunk::<8>()) {
        let found = special(u64::from_le_bytes(*chunk));
        if found != 0 {
            return pos + (found.trailing_zeros() / 8) as usize;
        }
        pos += 8;
    }
    while !matches!(byte(text, pos), b'"' | b'\\' | 0..0x20) {
        pos += 1;
    }
    pos
}

/// Sets a bit for each byte that ends a run of plain text.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn special_of_16(chunk: &[u8; 16]) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };
    // SAFETY: every x86-64 has SSE2, and the load takes 16 bytes at any address, which are those of `chunk`.
    unsafe {
        let bytes = _mm_loadu_si128(chunk.as_ptr().cast::<__m128i>());
        let equal = |byte: u8| _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte.cast_signed()));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(equal(b'"'), equal(b'\\')), control)).cast_unsigned()
    }
}

/// Sets a bit for each byte that is no digit.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn others_of_16(chunk: &[u8; 16]) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_set1_epi8, _mm_sub_epi8,
    };
    // SAFETY: every x86-64 has SSE2, and the load takes 16 bytes at any address, which are those of `chunk`.
    unsafe {
        let bytes = _mm_loadu_si128(chunk.as_ptr().cast::<__m128i>());
        let values = _mm_sub_epi8(bytes, _mm_set1_epi8(b'0'.cast_signed()));
        let digits = _mm_cmpeq_epi8(_mm_min_epu8(values, _mm_set1_epi8(9)), values);
        !_mm_movemask_epi8(digits).cast_unsigned() & 0xffff
    }
}

/// Passes the string that begins at `pos`.
#[inline(always)]
pub(crate) fn string(text: &[u8], pos: usize) -> Result<Str, Breach> {
    let end = plain_end(text, expect(text, pos, b'"')?);
    if byte(text, end) == b'"' {
        return Ok(Str { end: end + 1, escaped: false });
    }
    escaped_string(text, end)
}

/// Passes the rest of a string from its first backslash on.
fn escaped_string(text: &[u8], mut pos: usize) -> Result<Str, Breach> {
    loop {
        pos = match byte(text, pos) {
            b'"' => return Ok(Str { end: pos + 1, escaped: true }),
            b'\\' => escape(text, pos + 1)?,
            _ => return Err(Breach),
        };
        pos = plain_end(text, pos);
    }
}

/// Passes what follows a backslash.
fn escape(text: &[u8], pos: usize) -> Result<usize, Breach> {
    match byte(text, pos) {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(pos + 1),
        b'u' => match text.get(pos + 1..pos + 5) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Ok(pos + 5),
            _ => Err(Breach),
        },
        _ => Err(Breach),
    }
}

/// Passes any value; `stack` is scratch space.
#[inline]
pub(crate) fn skip_value(text: &[u8], pos: usize, stack: &mut Vec<bool>) -> Result<usize, Breach> {
    match byte(text, pos) {
        b'"' => Ok(string(text, pos)?.end),
        b'{' | b'[' => skip_container(text, pos, stack),
        _ => skip_scalar(text, pos),
    }
}

/// Passes a number, a boolean or null.
#[inline]
fn skip_scalar(text: &[u8], pos: usize) -> Result<usize, Breach> {
    let literal = |literal: &[u8]| match text[pos..].starts_with(literal) {
        true => Ok(pos + literal.len()),
        false => Err(Breach),
    };
    match byte(text, pos) {
        b'-' | b'0'..=b'9' => number(text, pos),
        b't' => literal(b"true"),
        b'f' => literal(b"false"),
        b'n' => literal(b"null"),
        _ => Err(Breach),
    }
}

/// Passes a number.
#[inline]
fn number(text: &[u8], mut pos: usize) -> Result<usize, Breach> {
    if byte(text, pos) == b'-' {
        pos += 1;
    }
    pos = match byte(text, pos) {
        b'0' => pos + 1,
        _ => digits(text, pos)?,
    };
    if text.get(pos) == Some(&b'.') {
        pos = digits(text, pos + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(pos) {
        let sign = matches!(text.get(pos + 1), Some(b'+' | b'-'));
        pos = digits(text, pos + 1 + usize::from(sign))?;
    }
    Ok(pos)
}

/// Passes one digit or more.
#[inline]
fn digits(text: &[u8], pos: usize) -> Result<usize, Breach> {
    let mut end = pos;
    #[cfg(target_arch = "x86_64")]
    while let Some(chunk) = text.get(end..).and_then(|rest| rest.first_chunk::<16>()) {
        let others = others_of_16(chunk);
        if others != 0 {
            end += others.trailing_zeros() as usize;
            return if end > pos { Ok(end) } else { Err(Breach) };
        }
        end += 16;
    }
    while let Some(b'0'..=b'9') = text.get(end) {
        end += 1;
    }
    if end > pos { Ok(end) } else { Err(Breach) }
}

/// Passes the object or array that begins at `pos`.
fn skip_container(text: &[u8], pos: usize, stack: &mut Vec<bool>) -> Result<usize, Breach> {
    stack.clear();
    let mut pos = pos;
    // Each turn begins at a value.
    loop {
        pos = match byte(text, pos) {
            bracket @ (b'{' | b'[') => {
                let object = bracket == b'{';
                let inside = skip_space(text, pos + 1);
                if byte(text, inside) == if object { b'}' } else { b']' } {
                    inside + 1
                } else {
                    stack.push(object);
                    pos = if object { key(text, inside)? } else { inside };
                    continue;
                }
            }
            b'"' => string(text, pos)?.end,
            _ => skip_scalar(text, pos)?,
        };
        // Behind a value: the next one, or the ends of any number of containers.
        loop {
            let Some(&object) = stack.last() else { return Ok(pos) };
            pos = skip_space(text, pos);
            match (byte(text, pos), object) {
                (b',', true) => {
                    pos = key(text, skip_space(text, pos + 1))?;
                    break;
                }
                (b',', false) => {
                    pos = skip_space(text, pos + 1);
                    break;
                }
                (b'}', true) | (b']', false) => {
                    stack.pop();
                    pos += 1;
                }
                _ => return Err(Breach),
            }
        }
    }
}

/// Passes a key and its colon, up to the value.
#[inline]
fn key(text: &[u8], pos: usize) -> Result<usize, Breach> {
    let end = string(text, pos)?.end;
    Ok(skip_space(text, expect(text, skip_space(text, end), b':')?))
}

/// A string that is no text: a lone surrogate is among its escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoneSurrogate;

/// Appends what the inside of a JSON string stands for. The escapes have been checked when the string was passed.
pub(crate) fn unescape(body: &[u8], out: &mut Vec<u8>) -> Result<(), LoneSurrogate> {
    let mut rest = body;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let (taken, char) = unescape_one(&rest[at..])?;
        out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[at + taken..];
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// What one escape stands for, and how many bytes it takes.
fn unescape_one(text: &[u8]) -> Result<(usize, char), LoneSurrogate> {
    let char = match text[1] {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unescape_unicode(text),
        itself => char::from(itself),
    };
    Ok((2, char))
}

fn unescape_unicode(text: &[u8]) -> Result<(usize, char), LoneSurrogate> {
    let first = hex(&text[2..6]);
    if let Some(char) = char::from_u32(first) {
        return Ok((6, char));
    }
    let second = match text.get(6..12) {
        Some([b'\\', b'u', digits @ ..]) => hex(digits),
        _ => return Err(LoneSurrogate),
    };
    if !(0xd800..0xdc00).contains(&first) || !(0xdc00..0xe000).contains(&second) {
        return Err(LoneSurrogate);
    }
    let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    Ok((12, char::from_u32(code).expect("a pair of surrogates is a character")))
}

fn hex(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |sum, &digit| sum * 16 + char::from(digit).to_digit(16).expect("checked when it was passed"))
}
