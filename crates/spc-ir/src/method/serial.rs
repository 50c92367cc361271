//! Pointwise functions and expressions in files: by their text form.
use crate::{BinFn, ScalarExpr, UnFn};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! by_text {
    ($ty:ty, $show:expr, $read:expr) => {
        impl Serialize for $ty {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                let show: fn(&$ty) -> String = $show;
                s.serialize_str(&show(self))
            }
        }

        impl<'de> Deserialize<'de> for $ty {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<$ty, D::Error> {
                let read: fn(&str) -> Result<$ty, String> = $read;
                read(&String::deserialize(d)?).map_err(D::Error::custom)
            }
        }
    };
}

by_text!(UnFn, |f| f.name().to_string(), |t| UnFn::from_name(t).ok_or_else(|| format!("no function `{t}`")));
by_text!(BinFn, |f| f.name().to_string(), |t| BinFn::from_name(t).ok_or_else(|| format!("no function `{t}`")));
by_text!(ScalarExpr, ToString::to_string, ScalarExpr::parse);

/// Numbers as text, because JSON has no infinity.
pub(super) mod number {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(v: &f64, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&v.to_string())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}
