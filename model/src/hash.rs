//! How a key chooses its partition. Documented, because clients in every language must agree.
//!
//! `hash = XXH64(key bytes, seed 0)`, `partition = hash mod partitions`.

/// XXH64 of the key with seed 0.
pub fn key_hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh64::xxh64(key, 0)
}

/// The partition, from 0, that a key belongs to. `partitions` must not be 0.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (key_hash(key) % u64::from(partitions.max(1))) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // XXH64 reference vectors, seed 0.
        assert_eq!(key_hash(b""), 0xef46_db37_51d8_e999);
        assert_eq!(key_hash(b"a"), 0xd24e_c4f1_a98c_6e5b);
    }

    #[test]
    fn keys_spread_over_partitions() {
        let mut seen = [0u32; 6];
        for i in 0..6_000 {
            seen[partition_of(format!("key-{i}").as_bytes(), 6) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (800..1200).contains(n)), "{seen:?}");
    }
}
