//! When a collection gives back the memory of a past burst.

/// The capacity to which a collection should shrink, if it should.
///
/// It keeps room for `keep` elements or for twice those that it has, and shrinks when four times
/// that is allocated. So what giving back costs is a fraction of what the burst cost.
#[inline]
pub(crate) fn shrink_to(len: usize, capacity: usize, keep: usize) -> Option<usize> {
    let enough = keep.max(2 * len);
    (capacity > 4 * enough).then_some(enough)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::shrink_to;

    #[test]
    fn memory_is_given_back_when_four_times_what_is_enough_is_allocated() {
        for (len, enough) in [(1, 64), (32, 64), (100, 200)] {
            assert_eq!(shrink_to(len, 4 * enough, 64), None);
            assert_eq!(shrink_to(len, 4 * enough + 1, 64), Some(enough));
        }
    }
}
