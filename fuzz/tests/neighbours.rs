//! Each target understands its own seeds, and takes what lies next to them without harm: what can be said of a target
//! where no coverage can be measured.

use meridian_fuzz::{Met, TARGETS, Target};

/// Inputs for each target.
const INPUTS: u64 = 3_000;

/// Numbers that look drawn (xorshift64*): the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }
}

/// A few changes to a seed: a byte, a bit, an extreme, a piece cut out or put in from another seed.
fn neighbour(seeds: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut input = seeds[numbers.below(seeds.len())].clone();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(input.len());
        let end = (at + 1 + numbers.below(16)).min(input.len());
        match numbers.below(5) {
            0 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte = numbers.below(256) as u8),
            1 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << numbers.below(8)),
            2 => {
                let extreme = [0, 1, 0x7f, 0x80, 0xff][numbers.below(5)];
                input.iter_mut().take(end).skip(at).for_each(|byte| *byte = extreme);
            }
            3 => drop(input.drain(at.min(end)..end)),
            _ => {
                let other = &seeds[numbers.below(seeds.len())];
                let from = numbers.below(other.len());
                let piece = other[from..].iter().take(1 + numbers.below(24)).copied().collect::<Vec<u8>>();
                input.splice(at..at, piece);
            }
        }
    }
    input
}

#[test]
fn every_target_understands_its_seeds() {
    for Target { name, seeds, check, .. } in TARGETS {
        for (seed, number) in seeds().iter().zip(0..) {
            assert_eq!(check(seed), Met::Understood, "seed {number} of {name}");
        }
    }
}

#[test]
fn no_neighbour_of_a_seed_does_harm_and_some_are_understood() {
    for Target { name, seeds, check, .. } in TARGETS {
        let (seeds, mut numbers) = (seeds(), Numbers(0x6d65_7269_6469_616e));
        let met = (0..INPUTS).map(|_| check(&neighbour(&seeds, &mut numbers)));
        let understood = met.filter(|met| *met == Met::Understood).count() as u64;
        println!("{name}: {understood} of {INPUTS} understood");
        assert!(understood > 0 && understood < INPUTS, "{name}: {understood} of {INPUTS} understood");
    }
}
