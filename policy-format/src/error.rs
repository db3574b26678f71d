//! What can be wrong with a policy file, each with a stable number and name.

use core::num::NonZeroU16;

use crate::section::SectionId;

/// The number of a [`FormatError`] without its details: all that a device keeps of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorCode(NonZeroU16);

impl ErrorCode {
    /// The [`FormatError::code`], never 0.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

/// What is made of an error where it is found. The checks are written once over it: a host keeps the error whole,
/// a device its number, which takes a register where the whole takes stores, and so less than half of the code.
pub(crate) trait Refusal: Copy {
    fn of(error: FormatError) -> Self;
}

impl Refusal for FormatError {
    #[inline(always)]
    fn of(error: FormatError) -> Self {
        error
    }
}

impl Refusal for ErrorCode {
    #[inline(always)]
    fn of(error: FormatError) -> Self {
        // No number is 0.
        Self(NonZeroU16::new(error.code()).unwrap_or(NonZeroU16::MAX))
    }
}

macro_rules! format_errors {
    ($($(#[$doc:meta])* $code:literal $name:ident $({ $($(#[$field_doc:meta])* $field:ident : $ty:ty),* $(,)? })?;)*) => {
        /// Why a policy file was refused.
        ///
        /// Each variant names the field and says what was found and, by its message, what is allowed.
        #[derive(Clone, Copy, PartialEq, Debug)]
        #[non_exhaustive]
        pub enum FormatError {
            $($(#[$doc])* $name $({ $($(#[$field_doc])* $field: $ty),* })?,)*
        }

        impl FormatError {
            /// The stable number of the error, used in device faults; numbers are never reused.
            #[must_use]
            #[inline(always)]
            pub const fn code(&self) -> u16 {
                match self { $(Self::$name { .. } => $code,)* }
            }

            /// The stable name of the error.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$name { .. } => stringify!($name),)* }
            }

            /// The name that belongs to a [`FormatError::code`], `None` for a number this version does not use.
            #[must_use]
            pub const fn name_of(code: u16) -> Option<&'static str> {
                match code { $($code => Some(stringify!($name)),)* _ => None }
            }
        }
    };
}

format_errors! {
    /// Fewer bytes than a header.
    1 TooShort {
        /// Bytes found.
        found: usize,
    };
    /// The buffer does not start at a multiple of 16.
    2 Misaligned {
        /// Address of the buffer modulo 16.
        found: u8,
    };
    /// The first eight bytes are not those of a policy file.
    3 Magic {
        /// Bytes found.
        found: [u8; 8],
    };
    /// A format version this reader does not know.
    4 Version {
        /// Version found.
        found: u32,
    };
    /// The header's total length is not that of the buffer (or, for a region, does not fit in it).
    5 TotalLength {
        /// Length in the header.
        declared: u32,
        /// Bytes in the buffer.
        found: usize,
    };
    /// The header's total length is below 32, above 16 MiB, or not a multiple of 16.
    6 TotalLengthInvalid {
        /// Length in the header.
        found: u32,
    };
    /// The CRC-32 does not match.
    7 Checksum {
        /// CRC in the header.
        stored: u32,
        /// CRC of the bytes.
        computed: u32,
    };
    /// The reserved header word is not zero.
    8 Reserved {
        /// Word found.
        found: u32,
    };
    /// The number of sections is outside its range.
    9 SectionCount {
        /// Number found.
        found: u32,
    };
    /// The section table reaches beyond the file.
    10 TableTruncated {
        /// Number of sections.
        sections: u32,
        /// Length of the file.
        length: usize,
    };
    /// Section ids do not ascend strictly.
    11 SectionOrder {
        /// Id of the section before.
        previous: u32,
        /// Id found.
        found: u32,
    };
    /// Flag bits other than *critical* are set.
    12 SectionFlags {
        /// Section id.
        id: u32,
        /// Flags found.
        found: u32,
    };
    /// A section does not start where the one before it (or the table) ends.
    13 SectionOffset {
        /// Section id.
        id: u32,
        /// Offset found.
        found: u32,
        /// Offset asked for.
        expected: u32,
    };
    /// A section is empty or reaches beyond the file.
    14 SectionLength {
        /// Section id.
        id: u32,
        /// Length found.
        found: u32,
        /// Bytes from its offset to the end of the file.
        available: u32,
    };
    /// A padding byte between sections is not zero.
    15 SectionPadding {
        /// Id of the section before the padding.
        id: u32,
    };
    /// Bytes follow the last section.
    16 TrailingBytes {
        /// Length of the file.
        found: usize,
        /// End of the last section, rounded up to 16.
        expected: usize,
    };
    /// A section this reader does not know is flagged critical.
    17 UnknownCriticalSection {
        /// Section id.
        id: u32,
    };
    /// A known section carries the wrong critical flag.
    18 WrongCriticalFlag {
        /// Section id.
        id: u32,
        /// Flags found.
        found: u32,
    };
    /// A required section is absent.
    19 MissingSection {
        /// The section.
        section: SectionId,
    };
    /// A section is present that META rules out.
    20 UnexpectedSection {
        /// The section.
        section: SectionId,
    };
    /// A section's length is not the one its dimensions give.
    21 SectionSize {
        /// The section.
        section: SectionId,
        /// Length in bytes found.
        found: usize,
        /// Length in bytes asked for.
        expected: u64,
    };
    /// Neither SCORES nor SELECTOR, with more than one choice.
    22 NoSelector {
        /// Number of choices.
        choices: u32,
    };
    /// Neither GAINS nor CONTROL.
    23 NoControlLaw;
    /// META is not valid postcard of its type.
    24 MetaEncoding;
    /// Bytes follow the META record.
    25 MetaTrailing {
        /// How many.
        found: usize,
    };
    /// META is not in its canonical encoding.
    26 MetaNotCanonical;
    /// An integer field is outside the range of the format.
    27 OutOfRange {
        /// Field.
        field: &'static str,
        /// Value found.
        found: u32,
        /// Least value allowed.
        min: u32,
        /// Greatest value allowed.
        max: u32,
    };
    /// The number of control heads is neither 1 nor the number of choices.
    28 ControlHeads {
        /// Number found.
        found: u32,
        /// Number of choices.
        choices: u32,
    };
    /// The sample time is not positive and finite.
    29 SampleTime {
        /// Value found, in seconds.
        found: f32,
    };
    /// A dimension is within the format but beyond what this reader is built for.
    30 DimensionExceedsCapacity {
        /// Dimension.
        what: &'static str,
        /// Value found.
        found: u32,
        /// Greatest value this reader admits.
        allowed: u32,
    };
    /// A choice stands for a plant mode that does not exist.
    31 ChoiceMode {
        /// Choice.
        choice: u32,
        /// Mode found.
        found: u32,
        /// Number of modes.
        modes: u32,
    };
    /// A float is NaN or infinite.
    32 NonFinite {
        /// The section.
        section: SectionId,
        /// Offset in the section in words of 4 bytes.
        word: usize,
    };
    /// An input scale is not positive.
    33 InputScale {
        /// State index.
        index: usize,
        /// Value found.
        found: f32,
    };
    /// A padding row of a block is not +0.0.
    34 BlockPadding {
        /// The section.
        section: SectionId,
        /// Index of the block in the section.
        block: usize,
        /// Index of the float in the block.
        index: usize,
    };
    /// A lower bound lies above the upper one.
    35 BoundsOrder {
        /// Control index.
        index: usize,
        /// Lower bound.
        lower: f32,
        /// Upper bound.
        upper: f32,
    };
    /// The fallback mode does not exist.
    36 FallbackMode {
        /// Mode found.
        found: u32,
        /// Number of modes.
        modes: u32,
    };
    /// Words of the fallback section that must be zero are not.
    37 FallbackPadding;
    /// The fallback constant lies outside the control bounds.
    38 FallbackConstant {
        /// Control index.
        index: usize,
        /// Value found.
        found: f32,
    };
    /// The number of golden vectors is outside its range.
    39 GoldenCount {
        /// Number found.
        found: u32,
    };
    /// Words of the golden section that must be zero are not.
    40 GoldenPadding;
    /// A golden vector holds a choice that does not exist.
    41 GoldenChoice {
        /// Index of the vector.
        index: usize,
        /// Choice found.
        found: u32,
        /// Number of choices.
        choices: u32,
    };
    /// No golden vector holds a subnormal state, which a core that flushes to zero would betray itself by.
    42 GoldenWithoutSubnormal;
    /// A row of an 8-bit block could sum beyond what stays exact.
    60 Int8Range {
        /// The section.
        section: SectionId,
        /// Row, counted through the section with its padding.
        row: usize,
        /// What it could reach.
        found: i64,
    };
    /// An 8-bit weight is -128.
    61 Int8Weight {
        /// The section.
        section: SectionId,
        /// Row, counted through the section with its padding.
        row: usize,
        /// Column.
        column: usize,
    };
    /// A multiplier is not in 1..=32767, or an output scale is not positive and normal.
    62 Int8Factor {
        /// The section.
        section: SectionId,
        /// Row, counted through the section with its padding.
        row: usize,
        /// Multiplier, or bits of the scale.
        found: u32,
    };
    /// A padding row or column of an 8-bit block is not zero.
    63 Int8Padding {
        /// The section.
        section: SectionId,
        /// Row, counted through the section with its padding.
        row: usize,
    };
    /// A scale of an 8-bit network's input is not positive, or its padding is not zero.
    64 Int8InputScale {
        /// The section.
        section: SectionId,
        /// Index of the float.
        index: usize,
    };
    /// A rate limit is not positive.
    80 RateLimit {
        /// Control index.
        index: usize,
        /// Value found.
        found: f32,
    };
    /// The control before the first period lies outside the control bounds.
    81 StartControl {
        /// Control index.
        index: usize,
        /// Value found.
        found: f32,
    };
    /// The hysteresis is negative.
    82 Hysteresis {
        /// Value found.
        found: f32,
    };
    /// A dwell time is not 1 to 1,000,000 periods.
    83 DwellTime {
        /// Mode.
        mode: usize,
        /// Value found.
        found: u32,
    };
    /// A mode that can be held and that no choice may follow, or that dwells and no choice holds.
    84 ModeTrap {
        /// Mode.
        mode: u16,
    };
    /// The envelope's bounds of a state are not in order.
    85 EnvelopeOrder {
        /// State index.
        index: usize,
    };
    /// Words of a section of constraints that must be zero are not.
    86 SafetyPadding {
        /// The section.
        section: SectionId,
    };
    /// The budget is no list of records with ascending classes and figures that are not zero.
    90 Budget {
        /// Index of the bad record; the number of records if that is wrong.
        record: u32,
    };
    /// The lower end of a region is above its upper one.
    100 RegionOrder {
        /// Choice times m plus control.
        entry: u32,
    };
    /// The rounding of a region is negative or wider than the region.
    101 RegionCorner {
        /// Choice times m plus control.
        entry: u32,
    };
    /// A region reaches beyond the control bounds.
    102 RegionBounds {
        /// Choice times m plus control.
        entry: u32,
    };
    /// No choice has the fallback law's mode, so that its regions are not known.
    103 RegionFallbackMode {
        /// Mode found.
        found: u16,
    };
    /// The fallback constant is outside the region of its mode.
    104 RegionFallbackConstant {
        /// Control index.
        index: usize,
        /// Value found.
        found: f32,
    };
    /// Rate limits beside regions: a limited control could leave its region.
    105 RegionLimits;
    /// Section REGIONS, and a reader that was built without the feature `regions`.
    106 RegionsNotBuilt;
    /// Section SIGNATURE does not end the file.
    120 SignatureNotLast;
    /// A signature scheme this reader does not know.
    121 SignatureScheme {
        /// Scheme found.
        found: u32,
    };
    /// Bytes of section SIGNATURE that must be zero are not.
    122 SignatureReserved;
}
