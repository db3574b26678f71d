//! The messages of [`FormatError`]: each says what was found and what is allowed.

use core::fmt;

use crate::error::FormatError;
use crate::section::SectionId;
use crate::{FORMAT_VERSION, MAGIC, MAX_GOLDEN, MAX_SECTIONS, MAX_TOTAL_LEN};

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
            Self::RegionOrder { entry } => {
                write!(f, "lower end of region {entry} is above its upper end")
            }
            Self::RegionCorner { entry } => write!(
                f,
                "rounding of region {entry} is not between 0 and half of its width"
            ),
            Self::RegionBounds { entry } => {
                write!(f, "region {entry} reaches beyond the control bounds")
            }
            Self::RegionFallbackMode { found } => write!(
                f,
                "fallback mode is {found}; regions ask for one that a choice has"
            ),
            Self::RegionFallbackConstant { index, found } => write!(
                f,
                "fallback constant of control {index} is {found}; it must be in the region of its mode"
            ),
            Self::RegionLimits => {
                f.write_str("rate limits beside regions; a policy may have one of them")
            }
            Self::RegionsNotBuilt => f.write_str(
                "the policy has regions of its control; this reader was built without feature `regions`",
            ),
            Self::Budget { record } => write!(
                f,
                "budget record {record} is bad; allowed are 1 to {} records of ascending class, with figures that are not 0",
                crate::MAX_NEEDS
            ),
            Self::GoldenWithoutSubnormal => {
                write!(f, "no golden vector has a subnormal state value; one must")
            }
            Self::RateLimit { index, found } => {
                write!(f, "rate limit {index} is {found}; it must be positive")
            }
            Self::StartControl { index, found } => write!(
                f,
                "start control {index} is {found}; it lies outside the control bounds"
            ),
            Self::Hysteresis { found } => {
                write!(f, "hysteresis is {found}; it must be 0 or more")
            }
            Self::DwellTime { mode, found } => write!(
                f,
                "dwell time of mode {mode} is {found} periods; allowed are 1 to 1000000"
            ),
            Self::ModeTrap { mode } => write!(
                f,
                "no choice may follow mode {mode}, or none holds it while it dwells; each mode must be left"
            ),
            Self::EnvelopeOrder { index } => write!(
                f,
                "envelope of state {index} is not in order: lower <= typical lower <= typical upper <= upper"
            ),
            Self::SafetyPadding { section } => {
                write!(f, "padding in section {section} is not zero")
            }
            Self::Int8Range {
                section,
                row,
                found,
            } => write!(
                f,
                "section {section}: row {row} could sum to {found}; at most 8388607 stays exact"
            ),
            Self::Int8Weight {
                section,
                row,
                column,
            } => write!(
                f,
                "section {section}: weight of row {row} and column {column} is -128; -127 to 127 is allowed"
            ),
            Self::Int8Factor {
                section,
                row,
                found,
            } => write!(
                f,
                "section {section}: multiplier or scale of row {row} is {found:#x}; allowed is 1 to 0x7fff in hidden \
                 rows, a positive normal float in output rows"
            ),
            Self::Int8Padding { section, row } => write!(
                f,
                "section {section}: padding row {row}, or a padding column of that row, is not zero"
            ),
            Self::Int8InputScale { section, index } => write!(
                f,
                "section {section}: input scale {index} is not positive and normal, or padding that is not zero"
            ),
            Self::SignatureNotLast => f.write_str("section SIGNATURE does not end the file"),
            Self::SignatureScheme { found } => write!(
                f,
                "signature scheme is {found}; this reader knows scheme 1 (Ed25519)"
            ),
            Self::SignatureReserved => {
                f.write_str("a reserved byte of section SIGNATURE is not zero")
            }
        }
    }
}

impl core::error::Error for FormatError {}
