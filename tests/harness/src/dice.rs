//! Repeatable chance: a seed yields the same sequence everywhere and for ever.

/// SplitMix64.
pub struct Dice(u64);

impl Dice {
    /// One of a seed's sequences.
    pub fn new(seed: u64, number: u64) -> Dice {
        let mut dice = Dice(seed);
        let start = dice.roll() ^ number;
        Dice(start)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }
}
