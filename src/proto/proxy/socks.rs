//! SOCKS 5 as a client: the proof of who we are, and one request.

use super::{Refused, Step, TunnelError};
use crate::{
    base::target::Target,
    conf::ProxyServer,
    wire::socks::{
        Command, Method, decode_method, decode_password, decode_reply, encode_password,
        encode_request, greeting,
    },
};

/// See the module.
#[derive(Debug)]
pub(super) struct Socks {
    state: State,
    command: Command,
    target: Target,
    /// What is said if the server asks for a password. It is not shown.
    password: Option<Secret>,
}

struct Secret(Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeted,
    Proving,
    Asked,
}

impl Socks {
    /// Begins a stream to `target`, and what is said first.
    pub(super) fn connect(server: &ProxyServer, target: Target) -> (Self, Vec<u8>) {
        Self::begin(server, Command::Connect, target)
    }

    /// Begins a relay. Where our datagrams will come from is not said: a router on the way may
    /// change it.
    pub(super) fn associate(server: &ProxyServer) -> (Self, Vec<u8>) {
        let anywhere = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        Self::begin(server, Command::Associate, anywhere.into())
    }

    fn begin(server: &ProxyServer, command: Command, target: Target) -> (Self, Vec<u8>) {
        let credentials = server.credentials();
        let password = credentials.map(|(user, word)| Secret(encode_password(user, word)));
        let methods: &[Method] = match password {
            Some(_) => &[Method::None, Method::Password],
            None => &[Method::None],
        };
        let first = greeting(methods);
        (Self { state: State::Greeted, command, target, password }, first)
    }

    pub(super) fn is_let_in(&self) -> bool {
        self.state == State::Asked
    }

    pub(super) fn handle_message(&mut self, heard: &[u8]) -> Result<Step, TunnelError> {
        match self.state {
            State::Greeted => match decode_method(heard)? {
                None => Ok(Step::Incomplete),
                Some(Some(Method::None)) => Ok(self.ask()),
                Some(Some(Method::Password)) => match &self.password {
                    Some(Secret(password)) => {
                        self.state = State::Proving;
                        Ok(Step::Say(password.clone()))
                    }
                    None => Err(TunnelError::NoPassword),
                },
                Some(None) if self.password.is_none() => Err(TunnelError::NoPassword),
                Some(None) => Err(TunnelError::NoMethod),
            },
            State::Proving => match decode_password(heard)? {
                None => Ok(Step::Incomplete),
                Some(true) => Ok(self.ask()),
                Some(false) => Err(TunnelError::Password),
            },
            State::Asked => match decode_reply(heard)? {
                None => Ok(Step::Incomplete),
                Some((reply, _)) => match (reply.granted, self.command) {
                    (Ok(()), _) => Ok(Step::Made(Some(reply.bound))),
                    (Err(why), Command::Associate) => Err(TunnelError::NoRelay(why)),
                    (Err(why), Command::Connect) => Err(TunnelError::Refused(Refused::Socks(why))),
                },
            },
        }
    }

    fn ask(&mut self) -> Step {
        self.state = State::Asked;
        Step::Say(encode_request(self.command, &self.target))
    }
}
