//! Names of `synth-domain`: those that spell an address are rules of their own, those with a number are records.

use std::net::IpAddr;

use super::{
    super::{
        Opt,
        synth::{Range, Synth},
    },
    Line, Records, absolute,
};
use crate::import::{Draft, addresses::reverse_name};

impl Records {
    pub(in super::super) fn synthesize(&mut self, option: &Opt<'_>) -> Result<(), String> {
        let range = Range::read(&option.parts())?;
        match range.numbered() {
            Some(names) => self.numbered.push((option.line, names)),
            None => self.synths.push(Synth::of(range, option.line)?),
        }
        Ok(())
    }

    /// Gives numbered names their addresses, where they have no records of their own. The last name of an address counts.
    pub(super) fn settle_numbered(&mut self, draft: &mut Draft) {
        for (line, names) in std::mem::take(&mut self.numbered).into_iter().rev() {
            self.line = line;
            if let Err(reason) = names.into_iter().try_for_each(|it| self.numbered_name(it)) {
                draft.note(line, "synth-domain", reason);
            }
        }
    }

    fn numbered_name(&mut self, (name, address): (String, IpAddr)) -> Result<(), String> {
        if self.at.contains_key(&name) {
            let text = format!("PTR {}", absolute(&name));
            return self
                .add_line(&reverse_name(address), Line { ttl: None, text, is_derived: true });
        }
        self.host(&[name, address.to_string()])
    }
}
