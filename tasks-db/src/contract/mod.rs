//! What every task database must do, as tests that any backend can run: hand each of [`CASES`] an empty database whose
//! clock is the case's own.
//!
//! The cases panic where a promise is broken, as tests do.

#![allow(clippy::unwrap_used, reason = "these are tests; they live here so that every backend can run them")]

mod bench;
mod claims;
mod cron;
mod deaths;
mod declare;
mod intake;
mod lanes;
mod look;
mod quarantine;
mod runs;
pub mod simulation;
mod streams;
mod upgrades;

use std::fmt;
use std::pin::Pin;

pub use bench::Bench;

/// One promise, and the test of it.
#[derive(Clone, Copy)]
pub struct Case {
    /// What is promised.
    pub name: &'static str,
    /// Panics unless it is kept. Takes an empty database.
    pub run: fn(Bench) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! cases {
    ($($area:ident::$name:ident,)*) => {
        /// Every promise.
        pub const CASES: &[Case] = &[$(
            Case { name: concat!(stringify!($area), "::", stringify!($name)), run: |bench| Box::pin($area::$name(bench)) },
        )*];
    };
}

cases! {
    intake::the_seeds_paths_give_its_two_rows,
    intake::the_same_version_changes_nothing,
    intake::of_many_who_see_a_version_one_registers_it,
    intake::a_version_seen_before_is_news_again,
    intake::a_chunk_that_is_not_due_stays_so,
    intake::a_late_file_arms_a_task_in_any_state,
    intake::landing_is_due_at_once_and_again,
    declare::a_changed_source_is_refused_once_it_has_tasks,
    declare::a_changed_feature_is_refused,
    declare::a_feature_may_grow_and_be_older,
    claims::nothing_is_claimed_before_it_is_due,
    claims::paths_take_turns,
    claims::many_claimers_take_different_tasks,
    claims::the_oldest_chunk_of_a_path_comes_first,
    claims::a_claim_carries_the_newest_version_of_each_key,
    claims::an_expired_lease_is_taken_over_and_worth_nothing,
    claims::heartbeats_keep_a_claim,
    claims::fences_grow_though_the_clock_does_not,
    claims::a_fence_far_ahead_keeps_its_task_waiting_and_no_other,
    claims::completing_twice_is_completing_once,
    claims::a_file_that_arrives_meanwhile_is_not_lost,
    claims::a_refreshed_claim_goes_on_with_the_new_input,
    claims::a_released_task_costs_nothing,
    claims::a_held_task_goes_back_to_what_it_was,
    deaths::eight_claims_without_a_verdict_park_the_task,
    deaths::the_guilty_run_is_found_and_parked_alone,
    deaths::an_abandoned_claim_counts,
    runs::a_failing_run_is_parked_alone_after_eight,
    runs::a_service_that_is_away_costs_no_attempt,
    runs::a_superseded_run_is_done_and_shown,
    runs::a_task_is_lifted_above_rows_that_the_database_does_not_know,
    runs::an_isolated_run_ends_before_its_claim,
    runs::unreadable_input_parks_the_task,
    upgrades::a_new_feature_runs_on_later_tasks_and_on_older_ones_by_backfill,
    upgrades::a_new_version_runs_on_what_an_older_binary_completed,
    upgrades::an_older_binary_leaves_newer_runs_alone,
    lanes::fresh_chunks_and_a_backfill_share_a_path,
    lanes::a_backfill_raises_no_generation,
    lanes::a_registration_moves_a_task_to_the_fresh_lane,
    lanes::a_missing_file_parks_until_it_is_back_or_accepted,
    lanes::a_retry_arms_a_parked_run_without_a_new_generation,
    quarantine::broken_files_are_tried_again_by_a_retry,
    quarantine::the_last_reading_replaces_the_one_before,
    quarantine::a_hundred_examples_and_exact_counts,
    quarantine::text_is_cut_and_cleaned,
    look::tasks_are_listed_in_pages,
    look::parked_tasks_are_listed_with_those_that_have_parked_runs,
    look::features_show_how_far_they_are,
    look::tasks_that_no_feature_reads_are_not_due,
    look::the_pulse_tells_what_is_unfinished,
    cron::a_job_runs_once_for_a_fleet,
    cron::missed_runs_are_made_up_for_by_one,
    cron::a_changed_schedule_moves_the_job,
    streams::new_shards_begin_where_they_must,
    streams::parents_are_read_before_children,
    streams::a_checkpoint_and_its_files_are_both_written_or_neither,
    streams::a_shard_ends_with_its_last_files,
    streams::shards_are_spread_over_the_workers,
    streams::heartbeats_keep_a_shard,
    streams::shards_that_are_gone_are_forgotten,
    streams::unregistered_keys_are_found,
}
