//! The text forms of a manifest, parsed into types that cannot hold nonsense.
//!
//! Each type is `FromStr` and `Display`: the text that it displays reads back to the same value. Where a
//! text is refused, the error says how to write what was meant, because the commonest mistakes are
//! known: a host name for an address, a URL, a Unicode name, a network for a zone. What a type means in
//! the place where it stands is for [`crate::validate`].

pub use address::{AddressError, ListenerAddress, ServerAddress};
pub use byte_size::{ByteSize, ByteSizeError};
pub use duration::{Duration, DurationError};
pub use name::{Name, NameError};
pub use name_part::{NamePart, NamePartError};
pub use network::{Network, NetworkError};
pub use pin::{Pin, PinError};
pub use query_type::QueryType;
pub use record::{DEFAULT_TTL, Record, RecordError, depth, unquoted};
pub use record_type::{RecordType, RecordTypeError};
pub use regex::{Groups, Regex, RegexError, Vain};
pub use server_name::{ServerName, ServerNameError};
pub use template::Template;
pub use zone::{Zone, ZoneError};

mod address;
mod byte_size;
mod duration;
mod name;
mod name_part;
mod network;
mod pin;
mod query_type;
mod record;
mod record_type;
mod regex;
mod server_name;
mod template;
mod zone;
