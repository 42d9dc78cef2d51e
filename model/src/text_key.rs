//! Few bytes of a text as a number, by which many texts are found and put in order.

/// The eight bytes of a text after so many of its first, as a number that is in order as they are. Of texts that end
/// before, a number that those which go on with zeros have too: who meets equal numbers has to look at the texts.
///
/// # Panics
/// If the text is shorter than `shared` bytes.
#[inline]
pub fn text_key(text: &[u8], shared: usize) -> u64 {
    let rest = &text[shared..];
    if let Some(word) = rest.first_chunk::<8>() {
        return u64::from_be_bytes(*word);
    }
    match text.last_chunk::<8>() {
        // The last eight bytes, without those that are shared.
        Some(word) if !rest.is_empty() => u64::from_be_bytes(*word) << (64 - 8 * rest.len()),
        Some(_) => 0,
        None => rest.iter().zip((0..8).rev()).fold(0, |key, (&byte, place)| key | u64::from(byte) << (8 * place)),
    }
}

/// How many bytes two texts begin with alike.
#[inline]
pub fn shared_prefix(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_order_as_what_is_not_shared() {
        let mut random = fastrand::Rng::with_seed(6);
        for _ in 0..20_000 {
            let shared: Vec<u8> = (0..random.usize(0..12)).map(|_| random.u8(..)).collect();
            let mut id = || [shared.clone(), (0..random.usize(0..12)).map(|_| random.u8(0..3)).collect()].concat();
            let (left, right) = (id(), id());
            let keys = [&left, &right].map(|id| text_key(id, shared.len()));
            let cut = |id: &[u8]| id[shared.len()..].iter().copied().chain([0; 8]).take(8).collect::<Vec<u8>>();
            assert_eq!(keys[0].cmp(&keys[1]), cut(&left).cmp(&cut(&right)), "{left:?} {right:?}");
        }
    }
}
