//! New specs for a supervisor that runs: what OTP's `supervisor:code_change` does.

use std::collections::{BTreeMap, HashMap};

use super::super::spec::{ChildRules, InvalidSpec, Strategy, SupervisorFlags, check};
use super::super::window::RestartWindow;
use super::table::Key;
use super::{Core, Done, Effect, Ticket};

impl Core {
    /// Puts new flags and specs in place of the old ones. What runs keeps running, under the new rules.
    ///
    /// The listed children come first, in their order, then those that are kept although nobody lists them. The past
    /// restarts stay counted.
    pub(super) fn change_specs(
        &mut self,
        ticket: Ticket,
        flags: SupervisorFlags,
        children: Vec<ChildRules>,
    ) -> Result<Done, InvalidSpec> {
        check(&flags, &children)?;
        let dynamic = flags.strategy == Strategy::Dynamic;
        if dynamic != (self.flags.strategy == Strategy::Dynamic) {
            return Err(InvalidSpec::DynamicChanged);
        }
        let unknown = children.iter().find(|rules| !self.by_id.contains_key(&rules.id));
        if let Some(unknown) = unknown.filter(|_| dynamic) {
            return Err(InvalidSpec::NotThere(unknown.id.clone()));
        }

        let restarts = self.window.restarts();
        self.window = RestartWindow::with_restarts(flags.intensity, flags.period, &restarts);
        self.flags = flags;
        let mut order = Vec::with_capacity(self.children.len() + children.len());
        for rules in children {
            self.effects.push(Effect::Adopt(ticket, rules.id.clone()));
            match self.by_id.get(&rules.id).copied() {
                Some(key) => {
                    order.push(key);
                    if let Some(child) = self.children.get_mut(&key) {
                        child.rules = rules;
                        child.has_factory = true;
                    }
                }
                None => order.push(self.add(rules)),
            }
        }
        // starts of a dynamic supervisor may be under way, and its children have no order
        if !dynamic {
            self.reorder(&order);
        }
        Ok(Done::Changed)
    }

    /// Brings these children to the front, in this order. No script may be under way: it knows children by their place.
    fn reorder(&mut self, first: &[Key]) {
        let mut old = std::mem::take(&mut self.children);
        let mut moved = HashMap::with_capacity(old.len());
        let mut ordered = Vec::with_capacity(old.len());
        ordered.extend(first.iter().filter_map(|key| Some((*key, old.remove(key)?))));
        ordered.extend(old);
        let mut children = BTreeMap::new();
        for (old_key, child) in ordered {
            let key = self.next_key;
            self.next_key += 1;
            moved.insert(old_key, key);
            self.by_id.insert(child.rules.id.clone(), key);
            children.insert(key, child);
        }
        self.children = children;
        for key in self.by_epoch.values_mut() {
            if let Some(new) = moved.get(key) {
                *key = *new;
            }
        }
    }
}
