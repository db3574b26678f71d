//! What can be wrong with a policy file, each with a stable number and name.

use core::fmt;

use crate::section::SectionId;
use crate::{FORMAT_VERSION, MAGIC, MAX_GOLDEN, MAX_SECTIONS, MAX_TOTAL_LEN};

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
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooShort { found } => write!(f, "file has {found} bytes; a header alone has 32"),
            Self::Misaligned { found } => {
                write!(
                    f,
                    "buffer starts {found} bytes past a multiple of 16; it must be 16-aligned"
                )
            }
            Self::Magic { found } => {
                write!(
                    f,
                    "magic is {found:02x?}; a policy file starts with {MAGIC:02x?}"
                )
            }
            Self::Version { found } => {
                write!(
                    f,
                    "format version is {found}; this reader knows version {FORMAT_VERSION}"
                )
            }
            Self::TotalLength { declared, found } => {
                write!(
                    f,
                    "header states a total length of {declared} bytes; found {found}"
                )
            }
            Self::TotalLengthInvalid { found } => write!(
                f,
                "header states a total length of {found} bytes; allowed are multiples of 16 from 32 to {MAX_TOTAL_LEN}"
            ),
            Self::Checksum { stored, computed } => {
                write!(
                    f,
                    "CRC-32 is {computed:#010x}; the header states {stored:#010x}"
                )
            }
            Self::Reserved { found } => write!(f, "reserved header word is {found:#x}; must be 0"),
            Self::SectionCount { found } => {
                write!(
                    f,
                    "number of sections is {found}; allowed are 1 to {MAX_SECTIONS}"
                )
            }
            Self::TableTruncated { sections, length } => {
                write!(
                    f,
                    "table of {sections} sections does not fit in a file of {length} bytes"
                )
            }
            Self::SectionOrder { previous, found } => {
                write!(
                    f,
                    "section id {found} follows id {previous}; ids must ascend strictly"
                )
            }
            Self::SectionFlags { id, found } => {
                write!(
                    f,
                    "flags of section {} are {found:#x}; allowed are 0 and 1",
                    SectionId(id)
                )
            }
            Self::SectionOffset {
                id,
                found,
                expected,
            } => {
                write!(
                    f,
                    "section {} starts at {found}; must start at {expected}",
                    SectionId(id)
                )
            }
            Self::SectionLength {
                id,
                found,
                available,
            } => write!(
                f,
                "section {} has length {found}; allowed are 1 to {available}",
                SectionId(id)
            ),
            Self::SectionPadding { id } => {
                write!(f, "padding after section {} is not zero", SectionId(id))
            }
            Self::TrailingBytes { found, expected } => {
                write!(f, "file has {found} bytes; its sections end at {expected}")
            }
            Self::UnknownCriticalSection { id } => {
                write!(
                    f,
                    "critical section {} is unknown to this reader",
                    SectionId(id)
                )
            }
            Self::WrongCriticalFlag { id, found } => write!(
                f,
                "flags of section {} are {found}; must be {}",
                SectionId(id),
                u8::from(SectionId(id).is_critical())
            ),
            Self::MissingSection { section } => write!(f, "section {section} is missing"),
            Self::UnexpectedSection { section } => {
                write!(f, "section {section} is present although META rules it out")
            }
            Self::SectionSize {
                section,
                found,
                expected,
            } => {
                write!(
                    f,
                    "section {section} has {found} bytes; its dimensions ask for {expected}"
                )
            }
            Self::NoSelector { choices } => {
                write!(
                    f,
                    "neither SCORES nor SELECTOR is present, with {choices} choices; only 1 may do without"
                )
            }
            Self::NoControlLaw => write!(f, "neither GAINS nor CONTROL is present"),
            Self::MetaEncoding => write!(f, "section META does not decode"),
            Self::MetaTrailing { found } => {
                write!(f, "{found} bytes follow the record in section META")
            }
            Self::MetaNotCanonical => write!(f, "section META is not in its canonical encoding"),
            Self::OutOfRange {
                field,
                found,
                min,
                max,
            } => {
                write!(f, "{field} is {found}; allowed are {min} to {max}")
            }
            Self::ControlHeads { found, choices } => {
                write!(
                    f,
                    "control_heads is {found}; allowed are 1 and {choices} (the number of choices)"
                )
            }
            Self::SampleTime { found } => {
                write!(f, "sample_time_s is {found}; must be positive and finite")
            }
            Self::DimensionExceedsCapacity {
                what,
                found,
                allowed,
            } => {
                write!(
                    f,
                    "{what} is {found}; this reader is built for at most {allowed}"
                )
            }
            Self::ChoiceMode {
                choice,
                found,
                modes,
            } => {
                write!(
                    f,
                    "choice {choice} has mode {found}; there are {modes} modes"
                )
            }
            Self::NonFinite { section, word } => {
                write!(f, "word {word} of section {section} is not a finite float")
            }
            Self::InputScale { index, found } => {
                write!(f, "input scale {index} is {found}; must be positive")
            }
            Self::BlockPadding {
                section,
                block,
                index,
            } => write!(
                f,
                "padding float {index} of block {block} in section {section} is not +0"
            ),
            Self::BoundsOrder {
                index,
                lower,
                upper,
            } => {
                write!(
                    f,
                    "lower bound {index} is {lower}, above the upper bound {upper}"
                )
            }
            Self::FallbackMode { found, modes } => {
                write!(f, "fallback mode is {found}; there are {modes} modes")
            }
            Self::FallbackPadding => write!(f, "padding in section FALLBACK is not zero"),
            Self::FallbackConstant { index, found } => {
                write!(
                    f,
                    "fallback constant {index} is {found}; it lies outside the control bounds"
                )
            }
            Self::GoldenCount { found } => {
                write!(
                    f,
                    "number of golden vectors is {found}; allowed are 1 to {MAX_GOLDEN}"
                )
            }
            Self::GoldenPadding => write!(f, "padding in section GOLDEN is not zero"),
            Self::GoldenChoice {
                index,
                found,
                choices,
            } => {
                write!(
                    f,
                    "golden vector {index} has choice {found}; there are {choices} choices"
                )
            }
            Self::GoldenWithoutSubnormal => {
                write!(f, "no golden vector has a subnormal state value; one must")
            }
        }
    }
}

impl core::error::Error for FormatError {}

/// Why a policy could not be encoded.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum EncodeError {
    /// A list has the wrong length.
    Shape {
        /// Field of the specification.
        field: &'static str,
        /// Length found.
        found: usize,
        /// Length asked for.
        expected: usize,
    },
    /// A string or list is longer than the format allows.
    TooLong {
        /// Field of the specification.
        field: &'static str,
        /// Length found.
        found: usize,
        /// Greatest length.
        allowed: usize,
    },
    /// The output does not suffice.
    BufferTooSmall {
        /// Bytes found.
        found: usize,
        /// Bytes needed.
        needed: usize,
    },
    /// A value that no reader would accept.
    Invalid(FormatError),
}

impl From<FormatError> for EncodeError {
    fn from(error: FormatError) -> Self {
        Self::Invalid(error)
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Shape {
                field,
                found,
                expected,
            } => {
                write!(
                    f,
                    "{field} has {found} elements; its dimensions ask for {expected}"
                )
            }
            Self::TooLong {
                field,
                found,
                allowed,
            } => {
                write!(
                    f,
                    "{field} has length {found}; at most {allowed} is allowed"
                )
            }
            Self::BufferTooSmall { found, needed } => {
                write!(f, "output has {found} bytes; {needed} are needed")
            }
            Self::Invalid(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for EncodeError {}
