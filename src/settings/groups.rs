//! `groups` and `after`: how models hang together, checked as a whole once all models are known.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::fault::{Faults, hint};
use super::model::{GroupSpec, ModelSpec};
use super::path::{KeyPath, shown};
use super::policy::{GroupStrategy, RestartPolicy};
use super::quantity::format_duration;
use super::raw::RawGroup;
use super::reader::Reader;
use super::window;
use crate::ids::{GroupName, ModelName};
use crate::limits;

/// As many as one member is allowed in a row by its own rules: the group gives up first where there is readiness between.
pub(super) const INTENSITY: u32 = 5;
/// Long enough for a model that loads for a minute and dies at its first request.
pub(super) const PERIOD: Duration = Duration::from_secs(600);
/// A shorter window forgets a failure before its restart is over.
const LEAST_PERIOD: Duration = Duration::from_secs(1);

/// A model with its place in `supported_models`.
pub(super) type Placed = (usize, ModelSpec);

/// Reads the groups, makes them known to their members, and checks what stands before what.
pub(super) fn read(
    values: &Value,
    models: &mut [Placed],
    faults: &mut Faults,
) -> Vec<Arc<GroupSpec>> {
    let mut hanging = Hanging { values, names: written_names(values), faults };
    hanging.check_after(models);
    let groups = hanging.groups(models);
    hanging.check_circles(models);
    groups
}

struct Hanging<'a> {
    values: &'a Value,
    /// Every name in `supported_models`, also of a model that has another fault.
    names: HashSet<String>,
    faults: &'a mut Faults,
}

fn written_names(values: &Value) -> HashSet<String> {
    let models = values.get("supported_models").and_then(Value::as_array);
    let names = models.into_iter().flatten().filter_map(|model| model.get("name")?.as_str());
    names.map(str::to_owned).collect()
}

impl Hanging<'_> {
    fn known(&mut self, at: &KeyPath, name: &str) -> bool {
        let known = self.names.contains(name);
        if !known {
            let near = hint(name, self.names.iter().map(String::as_str));
            self.faults.push(at.clone(), format!("there is no model '{}'{near}", shown(name)));
        }
        known
    }

    fn check_after(&mut self, models: &[Placed]) {
        for (index, model) in models {
            let at = KeyPath::of(&["supported_models"]).index(*index).key("after");
            let mut before = HashSet::new();
            for (place, name) in model.after.iter().enumerate() {
                let at = at.index(place);
                if *name == model.name {
                    self.faults.push(at, "a model cannot be started after itself");
                } else if self.known(&at, name.as_str()) && !before.insert(name) {
                    self.faults.push(at, format!("'{}' stands twice", shown(name.as_str())));
                }
            }
        }
    }

    fn groups(&mut self, models: &mut [Placed]) -> Vec<Arc<GroupSpec>> {
        let elements = self.values.get("groups").and_then(Value::as_array);
        let mut groups = Vec::new();
        let mut names = HashMap::new();
        let mut taken = HashMap::new();
        for (index, element) in elements.into_iter().flatten().enumerate() {
            let at = KeyPath::of(&["groups"]).index(index);
            let Some((spec, places)) = self.group(&at, element, models) else { continue };
            if let Some(first) = names.insert(spec.name.clone(), at.clone()) {
                self.faults.push(at.key("name"), format!("is the name of {first}, too"));
                names.insert(spec.name.clone(), first);
            }
            for (place, member) in places.iter().zip(&spec.members) {
                let at_member = at.key("members").index(*place);
                match taken.get(member) {
                    Some(first) if *first == at => {
                        let message = format!("'{}' stands twice", shown(member.as_str()));
                        self.faults.push(at_member, message);
                    }
                    Some(first) => {
                        let message = format!(
                            "'{}' is a member of {first} already, and a model is in one group at most",
                            shown(member.as_str())
                        );
                        self.faults.push(at_member, message);
                    }
                    None => {
                        taken.insert(member.clone(), at.clone());
                    }
                }
            }
            groups.push(Arc::new(spec));
        }
        for (_, model) in models {
            model.group = groups.iter().find(|group| group.members.contains(&model.name)).cloned();
        }
        groups
    }

    /// A group, and the places in the file of those members that there are.
    fn group(
        &mut self,
        at: &KeyPath,
        element: &Value,
        models: &[Placed],
    ) -> Option<(GroupSpec, Vec<usize>)> {
        let decoded = RawGroup::deserialize(element);
        let raw = decoded
            .map_err(|error| self.faults.push(at.clone(), shown(&error.to_string())))
            .ok()?;
        let (mut members, mut places) = (Vec::new(), Vec::new());
        for (place, name) in raw.members.iter().flatten().enumerate() {
            let at = at.key("members").index(place);
            match ModelName::try_new(name) {
                // a model that has another fault is a member all the same
                Ok(member) if self.known(&at, name) => {
                    members.push(member);
                    places.push(place);
                }
                Ok(_) => {}
                Err(invalid) => self.faults.push(at, invalid.to_string()),
            }
        }
        let mut reader = Reader {
            values: self.values,
            table: at.clone(),
            below: None,
            faults: &mut *self.faults,
        };
        let period = reader.duration_from(LEAST_PERIOD, &["period"], raw.period.as_ref());
        let name = GroupName::try_new(raw.name?)
            .map_err(|invalid| self.faults.push(at.key("name"), invalid.to_string()))
            .ok();
        let spec = GroupSpec {
            name: name?,
            strategy: raw.strategy.unwrap_or_default(),
            members,
            intensity: raw.intensity.unwrap_or(INTENSITY),
            period: period.unwrap_or(PERIOD),
        };
        self.check_window(at, &spec, models);
        Some((spec, places))
    }

    /// A window that its members' own rules never let fill guards nothing.
    fn check_window(&mut self, at: &KeyPath, spec: &GroupSpec, models: &[Placed]) {
        let members = models.iter().filter(|(_, model)| spec.members.contains(&model.name));
        let policies: Vec<&RestartPolicy> =
            members.filter_map(|(_, model)| Some(&model.backend.as_deref()?.restart)).collect();
        if policies.len() < spec.members.len() || self.faults.any_below(at) {
            return;
        }
        let needed = window::least_period_of_group(&policies, spec.intensity);
        if let Some(least) = needed.filter(|least| *least > spec.period) {
            let message = format!(
                "{} can never hold the {} restarts that give the group up: by the rules of its members they take {} at least",
                format_duration(spec.period),
                u64::from(spec.intensity) + 1,
                format_duration(least),
            );
            self.faults.push(at.key("period"), message);
        }
    }

    /// Who must be ready first, by `after` and by the order of a group, must not wait for who comes after it.
    fn check_circles(&mut self, models: &[Placed]) {
        let mut waiting = befores(models.iter().map(|(_, model)| model));
        // more are not told anyhow
        for _ in 0..limits::CONFIG_FAULTS {
            forget_who_can_start(&mut waiting);
            let Some(circle) = circle(&waiting) else { return };
            // told at its first model
            let mut places = models.iter().filter(|(_, model)| circle.contains(&&model.name));
            let Some((index, first)) = places.next() else { return };
            let begin = circle.iter().position(|name| **name == first.name).unwrap_or_default();
            let way = circle.iter().cycle().skip(begin).take(circle.len() + 1);
            let way: Vec<_> = way.map(|name| shown(name.as_str())).collect();
            self.faults.push(
                KeyPath::of(&["supported_models"]).index(*index).key("after"),
                format!("a circle, in which each waits for the next: {}", way.join(" -> ")),
            );
            waiting.retain(|name, _| !circle.contains(name));
        }
    }
}

type Befores<'a> = BTreeMap<&'a ModelName, Vec<&'a ModelName>>;

/// Whom each model waits for, by its own wish and by its place in its group.
fn befores<'a>(models: impl Iterator<Item = &'a ModelSpec>) -> Befores<'a> {
    let before = |model: &'a ModelSpec| {
        let ordered = model.group.as_deref().filter(|g| g.strategy != GroupStrategy::OneForOne);
        let earlier = ordered.and_then(|group| {
            let place = group.members.iter().position(|member| *member == model.name)?;
            group.members.get(place.checked_sub(1)?)
        });
        // one after itself is told as such
        model.after.iter().filter(|name| **name != model.name).chain(earlier).collect()
    };
    models.map(|model| (&model.name, before(model))).collect()
}

/// Leaves those that are in a circle, or wait for one.
fn forget_who_can_start(waiting: &mut Befores<'_>) {
    let mut open = HashMap::new();
    let mut waiters: HashMap<_, Vec<_>> = HashMap::new();
    for (name, before) in &*waiting {
        let unmet = before.iter().filter(|name| waiting.contains_key(*name));
        open.insert(*name, unmet.clone().count());
        unmet.for_each(|before| waiters.entry(*before).or_default().push(*name));
    }
    let mut free: Vec<_> =
        open.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
    while let Some(name) = free.pop() {
        waiting.remove(name);
        for waiter in waiters.get(name).into_iter().flatten() {
            if let Some(count) = open.get_mut(waiter) {
                *count -= 1;
                if *count == 0 {
                    free.push(waiter);
                }
            }
        }
    }
}

/// A circle among those that are stuck; `None` where nobody is.
fn circle<'a>(stuck: &Befores<'a>) -> Option<Vec<&'a ModelName>> {
    let mut way = vec![*stuck.keys().next()?];
    let mut places = HashMap::from([(way[0], 0)]);
    loop {
        let before = stuck.get(way.last()?)?;
        let next = *before.iter().find(|name| stuck.contains_key(*name))?;
        if let Some(place) = places.insert(next, way.len()) {
            return Some(way.split_off(place));
        }
        way.push(next);
    }
}
