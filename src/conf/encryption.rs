//! Which connections with peers are encrypted, and what the key exchanges for that may cost.

use super::validate::{ConfError, at_least_one, check};

/// Which connections with peers are encrypted (message stream encryption, MSE/PE). Both ends must
/// know the torrent; it hides what is spoken from the line between them, and proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encryption {
    /// None. Peers that encrypt are not understood.
    Off,
    /// Those that the peer begins encrypted, and those that we begin with peers that are known to
    /// encrypt: by their last connection or by the word of others (BEP 11). Any other peer is
    /// dialled in plain first.
    Allowed,
    /// As `Allowed`, but peers that nothing is known of are dialled encrypted first.
    Preferred,
    /// All: nothing else is dialled or accepted.
    Required,
}

impl Encryption {
    /// Whether any connection may be encrypted.
    pub fn may_encrypt(self) -> bool {
        self != Self::Off
    }

    /// Whether any connection may be in plain.
    pub fn may_be_plain(self) -> bool {
        self != Self::Required
    }

    /// What holds for a part of what this holds for: for a torrent of the engine, or a peer of a
    /// torrent, whose own policy is `own`. `Off` and `Required` hold for all parts, so that no part
    /// breaks what was demanded of the whole; the others are for each part to replace.
    ///
    /// ```
    /// use cratetorrent::conf::Encryption::{Allowed, Off, Required};
    ///
    /// assert_eq!(Allowed.of_part(Some(Required)), Required);
    /// assert_eq!(Allowed.of_part(None), Allowed);
    /// assert_eq!(Required.of_part(Some(Off)), Required);
    /// ```
    #[must_use]
    pub fn of_part(self, own: Option<Self>) -> Self {
        match self {
            Self::Off | Self::Required => self,
            Self::Allowed | Self::Preferred => own.unwrap_or(self),
        }
    }
}

/// What the payload of a connection that began encrypted is enciphered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CryptoMethod {
    /// Nothing: only the beginning is unreadable.
    Plaintext,
    /// RC4, to the end of the connection.
    Rc4,
}

/// Which methods encrypted connections may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CryptoMethods {
    /// What is chosen if there is a choice.
    pub preferred: CryptoMethod,
    /// Whether no other is offered and accepted.
    pub only: bool,
}

impl CryptoMethods {
    /// Whether a connection may be enciphered with `method`.
    pub fn allows(self, method: CryptoMethod) -> bool {
        !self.only || method == self.preferred
    }

    /// What holds for a torrent of the engine that this holds for, whose own methods are `own`. An
    /// only method holds for all torrents, so that none breaks what was demanded of the whole.
    ///
    /// ```
    /// use cratetorrent::conf::{CryptoMethod::{Plaintext, Rc4}, CryptoMethods};
    ///
    /// let both = CryptoMethods { preferred: Plaintext, only: false };
    /// let rc4 = CryptoMethods { preferred: Rc4, only: true };
    /// assert_eq!(both.of_part(Some(rc4)), rc4);
    /// assert_eq!(both.of_part(None), both);
    /// assert_eq!(rc4.of_part(Some(both)), rc4);
    /// ```
    #[must_use]
    pub fn of_part(self, own: Option<Self>) -> Self {
        if self.only { self } else { own.unwrap_or(self) }
    }
}

/// How encrypted connections come about.
///
/// ```
/// use cratetorrent::conf::{CryptoMethod, Encryption, EncryptionConf};
///
/// let mut conf = EncryptionConf::default();
/// # if cfg!(feature = "mse") {
/// conf.policy = Encryption::Required;
/// # }
/// conf.method = CryptoMethod::Rc4;
/// conf.only_method = true;
/// assert!(conf.validate().is_ok());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EncryptionConf {
    /// Which connections are encrypted. Default [`Encryption::Allowed`], what most peers can speak
    /// with; without the feature `mse` nothing but [`Encryption::Off`]. With `Allowed` and
    /// `Preferred` a torrent
    /// ([`ConnectionParams::encryption`](crate::ConnectionParams::encryption)) and a peer
    /// ([`Verbs::set_peer_encryption`](crate::Verbs::set_peer_encryption)) may have a policy of
    /// their own.
    pub policy: Encryption,
    /// What is chosen of the methods that a peer offers. Default [`CryptoMethod::Plaintext`]: it
    /// passes what looks at the beginning of connections, and costs nothing afterwards. Unless it
    /// is the only one, a torrent may have methods of its own
    /// ([`ConnectionParams::methods`](crate::ConnectionParams::methods)).
    pub method: CryptoMethod,
    /// Whether [`method`](Self::method) is the only one that is offered and accepted. Default
    /// false. With RC4, every byte of an encrypted connection is unreadable.
    pub only_method: bool,
    /// Key exchanges that workers have at a time, over all connections. Others wait their turn.
    /// Default 16: some 3 ms of one core.
    pub max_exchanges: usize,
    /// The same for one host (an IPv4 address or an IPv6 /64), so that none has all. Default 2.
    pub max_exchanges_per_host: usize,
}

impl Default for EncryptionConf {
    fn default() -> Self {
        let policy = if cfg!(feature = "mse") { Encryption::Allowed } else { Encryption::Off };
        Self {
            policy,
            method: CryptoMethod::Plaintext,
            only_method: false,
            max_exchanges: 16,
            max_exchanges_per_host: 2,
        }
    }
}

impl EncryptionConf {
    /// Checks that the settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ConfError> {
        check(
            cfg!(feature = "mse") || self.policy == Encryption::Off,
            "encryption.policy",
            format_args!("{:?}", self.policy),
            "the feature `mse` of the crate",
        )?;
        at_least_one(self.max_exchanges, "encryption.max_exchanges")?;
        at_least_one(self.max_exchanges_per_host, "encryption.max_exchanges_per_host")
    }

    /// [`method`](Self::method) and [`only_method`](Self::only_method).
    pub fn methods(&self) -> CryptoMethods {
        CryptoMethods { preferred: self.method, only: self.only_method }
    }

    /// Whether a connection may be enciphered with `method`.
    pub fn allows(&self, method: CryptoMethod) -> bool {
        self.methods().allows(method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encryption_conf_defaults_are_valid_and_nonsense_is_named() {
        assert_eq!(EncryptionConf::default().validate(), Ok(()));
        let refused = |change: fn(&mut EncryptionConf)| {
            let mut conf = EncryptionConf::default();
            change(&mut conf);
            conf.validate().unwrap_err().field
        };
        assert_eq!(refused(|c| c.max_exchanges = 0), "encryption.max_exchanges");
        assert_eq!(refused(|c| c.max_exchanges_per_host = 0), "encryption.max_exchanges_per_host");
    }

    #[test]
    fn only_method_excludes_the_other() {
        let mut conf = EncryptionConf::default();
        assert!(conf.allows(CryptoMethod::Plaintext) && conf.allows(CryptoMethod::Rc4));
        (conf.method, conf.only_method) = (CryptoMethod::Rc4, true);
        assert!(!conf.allows(CryptoMethod::Plaintext) && conf.allows(CryptoMethod::Rc4));
    }
}
