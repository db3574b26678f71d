//! Numbers of a plant's equations by name: read from a plant file, written back, rounded to the training type.

use super::super::values::Place;

/// What a number of an equation may be.
#[derive(Clone, Copy, Debug)]
pub(in crate::plant) enum Allowed {
    /// Greater than 0.
    Positive,
    /// 0 or more.
    Weight,
    /// Any finite number.
    Any,
}

impl Allowed {
    /// Refuses a finite number that is out of range.
    ///
    /// # Errors
    /// [`crate::Error::Input`] with the place.
    pub(in crate::plant) fn check(self, value: f64, place: &Place<'_>) -> crate::Result<()> {
        let (good, allowed) = match self {
            Self::Positive => (value > 0.0, "a number greater than 0"),
            Self::Weight => (value >= 0.0, "a number, 0 or more"),
            Self::Any => (true, ""),
        };
        if good {
            Ok(())
        } else {
            Err(place.error(value, allowed))
        }
    }
}

/// Declares the numbers of a model: `key: count range role`, where the role is `physical` (uncertain in reality) or `cost`
/// (chosen). A key of one number is a number in the file, of several an array.
macro_rules! parameters {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $count:literal $allowed:ident $role:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name<T> {
            $($(#[$doc])* pub $field: [T; $count],)+
        }

        impl super::Parameters for $name<f64> {
            fn read(mut table: toml::Table, at: &crate::plant::family::ReadAt<'_>) -> crate::Result<Self> {
                let keys: &[&str] = &[$(stringify!($field)),+];
                if let Some(unknown) = table.keys().find(|key| !keys.contains(&key.as_str())) {
                    return Err(at.place(unknown).error("a key of another kind of plant", keys.join(", ")));
                }
                Ok(Self {
                    $($field: {
                        let place = at.place(stringify!($field));
                        let Some(value) = table.remove(stringify!($field)) else {
                            let allowed = match $count {
                                1 => "a number".to_owned(),
                                count => format!("an array of {count} numbers"),
                            };
                            return Err(place.error("nothing", allowed));
                        };
                        let mut numbers = [0.0; $count];
                        numbers.copy_from_slice(&place.vector(&value, $count)?);
                        for (i, &number) in numbers.iter().enumerate() {
                            let place = if $count == 1 { place.clone() } else { place.at(i) };
                            super::parameters::Allowed::$allowed.check(number, &place)?;
                        }
                        numbers
                    },)+
                })
            }

            fn to_table(&self) -> toml::Table {
                let mut table = toml::Table::new();
                $(table.insert(
                    stringify!($field).to_owned(),
                    match &self.$field[..] {
                        [one] => toml::Value::Float(*one),
                        several => crate::plant::values::numbers(several),
                    },
                );)+
                table
            }

            fn scale(&mut self, factor: &mut dyn FnMut() -> f64) {
                $(parameters!(@$role self.$field, factor);)+
            }
        }

        impl $name<f64> {
            /// The same numbers rounded to `T`.
            #[must_use]
            pub fn rounded<T: crate::numeric::Real>(&self) -> $name<T> {
                $name { $($field: self.$field.map(T::from_f64),)+ }
            }
        }
    };
    (@physical $numbers:expr, $factor:ident) => {
        for number in &mut $numbers {
            *number *= $factor();
        }
    };
    (@cost $numbers:expr, $factor:ident) => {};
}
pub(super) use parameters;
