//! Which mistakes can the server make on purpose? One table; a flaw that is off costs a test of one bit.

use std::str::FromStr;

/// One deliberate fault.
#[derive(Debug)]
pub struct Flaw {
    /// Its name, as `--flaw` takes it: it names the defect.
    pub name: &'static str,
    /// What the server then does, in one sentence.
    pub breaks: &'static str,
    /// What must be configured for the fault to show: arguments of `serve`, as `--alg=RS256`; and `dialect=oauth`, `dialect=oidc` or
    /// `dialect=rfc9068` where only the requests of that dialect meet it.
    pub needs: &'static [&'static str],
    /// The checks that must find it.
    pub kills: &'static [&'static str],
    /// Other checks that turn as a natural consequence.
    pub also: &'static [&'static str],
}

macro_rules! flaws {
    ($($id:ident $name:literal $breaks:literal needs [$($need:literal)*] kills [$($kill:literal)*] also [$($also:literal)*];)*) => {
        /// The rows by name, for the code that asks whether one is on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each is described by its row")]
        #[repr(usize)]
        pub enum FlawId { $($id),* }

        static TABLE: &[Flaw] = &[$(Flaw {
            name: $name, breaks: $breaks, needs: &[$($need),*], kills: &[$($kill),*], also: &[$($also),*],
        }),*];
        static IDS: &[FlawId] = &[$(FlawId::$id),*];
    };
}

include!("flaw_table.rs");

/// All flaws.
pub fn flaws() -> &'static [Flaw] {
    TABLE
}

impl FlawId {
    /// Its row.
    pub fn row(self) -> &'static Flaw {
        &TABLE[self as usize]
    }
}

/// `--flaw` with a name that is not in the table.
#[derive(Debug, thiserror::Error)]
#[error("unknown flaw `{name}`\nhint: `assay list flaws` shows all")]
pub struct UnknownFlaw {
    /// What was asked for.
    pub name: String,
}

impl FromStr for FlawId {
    type Err = UnknownFlaw;
    fn from_str(name: &str) -> Result<Self, UnknownFlaw> {
        TABLE
            .iter()
            .position(|flaw| flaw.name == name)
            .and_then(|place| IDS.get(place).copied())
            .ok_or_else(|| UnknownFlaw { name: name.to_owned() })
    }
}

const WORDS: usize = 4;

/// The flaws that are on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlawSet {
    bits: [u64; WORDS],
}

const _: () = assert!(TABLE.len() <= WORDS * 64, "the set has too few bits");

impl FlawSet {
    /// The set of these flaws.
    pub fn of(flaws: &[FlawId]) -> Self {
        let mut set = Self::default();
        for flaw in flaws {
            set.bits[*flaw as usize / 64] |= 1 << (*flaw as usize % 64);
        }
        set
    }

    /// True where this flaw is on.
    pub fn has(&self, flaw: FlawId) -> bool {
        self.bits[flaw as usize / 64] & (1 << (flaw as usize % 64)) != 0
    }

    /// True where the server is as good as it can be.
    pub fn is_empty(&self) -> bool {
        self.bits == [0; WORDS]
    }

    /// The names of those that are on, in the order of the table.
    pub fn names(&self) -> Vec<&'static str> {
        IDS.iter().filter(|id| self.has(**id)).map(|id| id.row().name).collect()
    }
}
