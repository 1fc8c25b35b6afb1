use super::*;
use crate::launcher::testing::key;

const PID: u32 = 100;
const START: u64 = 5000;
const ENDPOINT: &str = "ipc:///run/m-1";

/// The process on record as it should be found.
const RIGHT: Found = Found {
    start_ticks: START,
    ended: false,
    is_child: false,
    is_marked: true,
    writes_its_log: true,
};

fn recorded(generation: u64, found: Option<Found>) -> Recorded {
    let generation = Generation(generation);
    Recorded {
        instance: key("m", 1).instance,
        last: Some(LastKnown { generation, may_live: true }),
        endpoint: Some(ENDPOINT.into()),
        process: Some(RecordedProcess { generation, pid: PID, start_ticks: START, found }),
    }
}

fn resting(generation: u64) -> Recorded {
    let last = Some(LastKnown { generation: Generation(generation), may_live: false });
    Recorded { last, process: None, ..recorded(generation, None) }
}

fn marked(pid: u32, generation: u64) -> Marked {
    Marked {
        pid,
        start_ticks: START + u64::from(pid),
        group: pid,
        key: key("m", generation),
        endpoint: Some(ENDPOINT.into()),
    }
}

fn facts(recorded: Option<Recorded>, marked: Vec<Marked>) -> Facts {
    Facts { known: [key("m", 1).instance].into(), recorded: recorded.into_iter().collect(), marked }
}

/// In short: `+` adopted by record, `*` by its marks, `-` gone, `!` gone and its pid another's, `x` ended, `X` with its group.
fn told(facts: &Facts) -> String {
    let told: Vec<_> = plan(facts)
        .into_iter()
        .map(|step| match step {
            Step::Adopt { key, pid, by_marks, .. } => {
                format!("{}{pid}#{}", if by_marks { '*' } else { '+' }, key.generation)
            }
            Step::Gone { key, replaced: None } => format!("-#{}", key.generation),
            Step::Gone { key, replaced: Some(pid) } => format!("!{pid}#{}", key.generation),
            Step::End { pid, group, .. } => format!("{}{pid}", if group { 'X' } else { 'x' }),
        })
        .collect();
    told.join(" ")
}

#[test]
fn only_what_began_when_the_record_says_and_shows_that_it_is_ours_is_taken_over() {
    let found = |change: fn(&mut Found)| {
        let mut found = Found { is_marked: false, writes_its_log: false, ..RIGHT };
        change(&mut found);
        told(&facts(Some(recorded(3, Some(found))), vec![]))
    };
    assert_eq!(found(|f| f.is_marked = true), "+100#3");
    assert_eq!(found(|f| f.writes_its_log = true), "+100#3");
    assert_eq!(found(|f| f.is_child = true), "+100#3");
    // a foreign process that a forged record names, or that got the pid and even the start
    assert_eq!(found(|_| ()), "!100#3");
    let other_start =
        |f: &mut Found| *f = Found { start_ticks: START + 1, is_child: true, ..RIGHT };
    assert_eq!(found(other_start), "!100#3");
    // ended: its parent, where that is the heart, still knows how
    assert_eq!(found(|f| (f.ended, f.is_child) = (true, true)), "+100#3");
    assert_eq!(found(|f| (f.ended, f.is_marked) = (true, true)), "-#3");
    assert_eq!(told(&facts(Some(recorded(3, None)), vec![])), "-#3");
}

#[test]
fn a_start_that_was_not_written_down_is_known_by_its_marks() {
    let of = |record: Option<Recorded>, generations: &[u64]| {
        let marked = generations.iter().zip(200..).map(|(g, pid)| marked(pid, *g)).collect();
        told(&facts(record, marked))
    };
    // newer than anything on record
    assert_eq!(of(Some(resting(2)), &[3]), "*200#3");
    assert_eq!(of(Some(recorded(2, None)), &[3]), "-#2 *200#3");
    // ordered, and the answer was not written down
    let ordered = Recorded { process: None, ..recorded(3, None) };
    assert_eq!(of(Some(ordered.clone()), &[3]), "*200#3");
    // the record of the order was written, the exit of the one before was not
    let process = recorded(2, None).process;
    assert_eq!(of(Some(Recorded { process, ..ordered }), &[3]), "-#2 *200#3");
    // its file was damaged or is gone
    let damaged = Recorded { last: None, ..resting(2) };
    assert_eq!(of(Some(damaged), &[4, 2]), "*200#4");
    assert_eq!(of(None, &[4]), "*200#4");
    // what it started itself is younger
    assert_eq!(of(None, &[4, 4, 4]), "*200#4");
}

#[test]
fn helpers_that_left_the_group_are_no_backends() {
    let of =
        |record: Recorded, generation| told(&facts(Some(record), vec![marked(200, generation)]));
    // of one that was seen to end, or of an older one
    assert_eq!(of(resting(3), 3), "");
    assert_eq!(of(resting(3), 2), "");
    assert_eq!(of(recorded(3, None), 3), "-#3");
    // of one that lives
    assert_eq!(of(recorded(3, Some(RIGHT)), 3), "+100#3");
    assert_eq!(of(recorded(3, Some(RIGHT)), 4), "+100#3");
}

#[test]
fn a_start_after_the_model_was_unloaded_is_known_by_its_address_and_ended() {
    let other = |pid| Marked { endpoint: Some("ipc:///run/m-2".into()), ..marked(pid, 1) };
    // what is on record is of the life before, in which there were more starts
    assert_eq!(told(&facts(Some(recorded(3, None)), vec![other(200)])), "-#3 X200");
    assert_eq!(told(&facts(Some(resting(3)), vec![other(200), marked(201, 3)])), "X200");
    let newer = vec![other(200), marked(201, 4)];
    assert_eq!(told(&facts(Some(resting(3)), newer)), "X200 *201#4");
}

#[test]
fn what_an_end_in_the_gap_left_in_its_group_is_ended() {
    let in_group = |pid, generation| Marked { group: PID, ..marked(pid, generation) };
    let rest = vec![in_group(201, 3), in_group(202, 3), in_group(203, 2), marked(204, 3)];
    assert_eq!(told(&facts(Some(recorded(3, None)), rest.clone())), "x201 x202 -#3");
    assert_eq!(told(&facts(Some(recorded(3, Some(RIGHT))), rest)), "+100#3");
}

#[test]
fn an_instance_that_nobody_knows_is_ended_and_one_without_a_place_too() {
    let unknown =
        Facts { known: BTreeSet::new(), ..facts(None, vec![marked(200, 1), marked(201, 2)]) };
    assert_eq!(told(&unknown), "X200 X201");
    // one on record is adopted all the same: who knows the configuration ends it in order
    let record = Some(recorded(3, Some(RIGHT)));
    let removed = Facts { known: BTreeSet::new(), ..facts(record, vec![]) };
    assert_eq!(told(&removed), "+100#3");
    // forgotten, and killed before it was ended
    let forgotten = Recorded { last: None, ..recorded(3, Some(RIGHT)) };
    assert_eq!(told(&facts(Some(forgotten), vec![marked(201, 3)])), "X100");
    let nowhere = Marked { endpoint: None, ..marked(200, 1) };
    assert_eq!(told(&facts(None, vec![nowhere.clone()])), "X200");
    let ordered = Recorded { process: None, ..recorded(1, None) };
    assert_eq!(told(&facts(Some(ordered), vec![nowhere])), "*200#1");
}

#[test]
fn members_of_a_group_that_no_record_names_are_not_taken_for_backends() {
    let member = Marked { group: 77, ..marked(200, 1) };
    assert_eq!(told(&facts(None, vec![member])), "");
}
