//! `docs/conformance.md` has a row for every case of the supervision contract, and each row names a test that is there or a
//! reason why none can be.

use std::collections::BTreeMap;

use crate::sources::{no_faults, root, text};

const TABLE: &str = "docs/conformance.md";

/// Of the supervision layer, in virtual time; held below `tests/conformance/`.
const SUPERVISION: &str = "\
    sup_start_normal sup_start_ignore_init sup_start_ignore_child sup_start_ignore_temporary_child \
    sup_start_ignore_temporary_child_start_child sup_start_ignore_temporary_child_start_child_simple \
    sup_start_ignore_permanent_child_start_child_simple sup_start_error_return sup_start_fail \
    sup_start_child_returns_error sup_start_restart_child_returns_error sup_start_map sup_start_map_simple \
    sup_start_map_faulty_specs sup_stop_infinity sup_stop_timeout sup_stop_timeout_dynamic \
    sup_stop_brutal_kill sup_stop_brutal_kill_dynamic sup_stop_race sup_stop_non_shutdown_exit_dynamic \
    child_adm child_adm_simple child_specs sup_flags extra_return permanent_normal permanent_shutdown \
    permanent_abnormal transient_normal transient_shutdown transient_abnormal temporary_normal \
    temporary_shutdown temporary_abnormal temporary_bystander multiple_restarts one_for_one \
    one_for_one_escalation one_for_all one_for_all_escalation one_for_all_other_child_fails_restart \
    rest_for_one rest_for_one_escalation rest_for_one_other_child_fails_restart simple_one_for_one \
    simple_one_for_one_escalation simple_one_for_one_shutdown simple_one_for_one_extra \
    simple_one_for_one_corruption child_unlink tree count_children count_children_supervisor \
    count_restarting_children do_not_save_start_parameters_for_temporary_children \
    do_not_save_child_specs_for_temporary_children scale_many_temporary_children \
    scale_start_stop_many_children hanging_restart_loop hanging_restart_loop_rest_for_one \
    hanging_restart_loop_simple restart_worker kill_supervisor order_of_children code_change code_change_map \
    code_change_simple code_change_simple_map which_children already_started_outside_supervisor \
    nonsignificant_temporary nonsignificant_transient significant_temporary significant_transient \
    significant_simple significant_bystander significant_escalation significant_upgrade \
    faulty_application_shutdown simple_global_supervisor format_log_1 format_log_2 \
    external_start_no_progress_log max_children_counts_restarting_ones stop_cancels_a_pending_retry \
    registry_entry_removed_by_generation ask_to_stopping_supervisor_does_not_deadlock \
    on_stop_before_next_on_start frozen_actor_replaced protect_zone_respected panic_with_no_address_left \
    panic_inside_stopped_does_not_abort";

/// Of processes; held below `tests/process/`.
const PROCESSES: &str = "\
    spawn_already_running make_pipes_emfile fork_eagain execv_fail cwd_fail kill_nopid kill_from_starting \
    kill_from_running kill_from_backoff kill_esrch stop_kills_group exited_too_quickly \
    exit_expected_and_unexpected clock_jump_changes_nothing backoff_to_parked no_restart_while_shutting_down \
    stops_unkillable unknown_pid_reaped sighup_in_shutdown event_overflow_counted sigkilled_is_replaced \
    not_respawning stopping_does_not_spawn non_utf8_output output_after_restart stdout_flood_64mb \
    exits_within_grace killed_after_grace flapping_parks flapping_window_resets forget_without_stop \
    ensure_ready_during_stop concurrent_start_stop wrapper_shell_and_grandchild_die grandchild_holds_stdout \
    own_stale_socket_removed foreign_file_untouched term_at_any_moment_of_start actor_panic_keeps_process \
    registry_panic_keeps_processes core_killed_is_adopted heart_and_core_killed_leave_nothing \
    memory_limit_is_reported sigstop_is_noticed";

/// Of the gateway's sockets; held below `tests/gateway/`.
const GATEWAY: &str = "\
    garbage_frames correlation_id_echo peer_vanishes oversized_frame slow_reader_does_not_stall_others \
    shutdown_with_unsent_data second_service_on_same_sockets_refused other_user_refused flood_is_bounded";

/// Rows of the tables of cases: the case's name, and what stands in the last cell. (Another table is about files.)
fn rows(table: &str) -> Vec<(String, String)> {
    let cells = |line: &str| -> Option<(String, String)> {
        let mut cells = line.strip_prefix("| `")?.strip_suffix(" |")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?.to_owned();
        (!name.contains('/')).then_some((name, cells.last()?.to_owned()))
    };
    table.lines().filter_map(cells).collect()
}

/// What is wrong with the last cell of a case that is held below this folder.
fn fault(case: &str, cell: &str, folder: &str) -> Option<String> {
    let reasons = ["not ported: ", "not yet: "];
    if reasons.iter().any(|reason| cell.strip_prefix(reason).is_some_and(|why| why.len() > 10)) {
        return None;
    }
    let Some((file, test)) = cell.trim_matches('`').split_once("::") else {
        return Some(format!("{case}: {cell} is neither a test nor a reason"));
    };
    if test != case {
        return Some(format!("{case} is held by a test of another name: {test}"));
    }
    if !file.starts_with(folder) {
        return Some(format!("{case} stands in {file} and not below {folder}"));
    }
    let there = std::fs::read_to_string(root().join(file));
    let is_test = there.is_ok_and(|text| {
        let place = text.find(&format!("fn {test}("));
        place.is_some_and(|place| text[..place].trim_end().ends_with(']'))
    });
    (!is_test).then(|| format!("{file} has no test {test}"))
}

#[test]
fn every_case_has_its_test_or_a_reason() {
    let rows = rows(&text(TABLE));
    let mut faults = Vec::new();
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, _) in &rows {
        *told.entry(name).or_default() += 1;
    }
    for (cases, folder) in [
        (SUPERVISION, "tests/conformance/"),
        (PROCESSES, "tests/process/"),
        (GATEWAY, "tests/gateway/"),
    ] {
        for case in cases.split_whitespace() {
            match rows.iter().find(|(name, _)| name == case) {
                None => faults.push(format!("{case} has no row in {TABLE}")),
                Some((_, cell)) => faults.extend(fault(case, cell, folder)),
            }
            match told.remove(case) {
                None | Some(1) => {}
                Some(times) => faults.push(format!("{case} has {times} rows")),
            }
        }
    }
    faults.extend(told.keys().map(|name| format!("{name} is no case that this test knows")));
    no_faults(&faults);
}

#[test]
fn a_row_that_promises_what_is_not_there_is_seen() {
    let table = "| case | what | held by |\n|---|---|---|\n| `one` | a | b | `tests/x.rs::one` |\n";
    assert_eq!(rows(table), [("one".to_owned(), "`tests/x.rs::one`".to_owned())]);
    let here = "tests/house/";
    let this = "a_row_that_promises_what_is_not_there_is_seen";
    let cell = |test: &str| format!("`tests/house/conformance.rs::{test}`");
    assert_eq!(fault(this, &cell(this), here), None);
    assert_eq!(fault("one", "not ported: there is nothing of the kind", here), None);
    for (case, cell) in [
        ("rows", cell("rows")),
        ("one", cell("one")),
        (this, cell("rows")),
        (this, format!("`tests/elsewhere.rs::{this}`")),
        ("one", "not ported: ".to_owned()),
        ("one", "later".to_owned()),
    ] {
        assert!(fault(case, &cell, here).is_some(), "{case}: {cell}");
    }
}
