//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use neartime_model::{FeatureName, Instant, SourceName, Span};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  `run --once` only: something stands parked, or this run quarantined a whole file
  2  wrong usage, configuration or SQL
  3  a service is unreachable or refuses us
  4  anything else

Start with `neartime demo`.";

/// Turns raw event files into features, a little each time, all the time.
#[derive(Debug, Parser)]
#[command(name = "neartime", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// The configuration
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "NEARTIME_CONFIG",
        default_value = "neartime.toml",
        hide_env = true
    )]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) config: PathBuf,
    /// How rows are printed
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    #[arg(value_name = "table|csv|json", hide_possible_values = true)]
    pub(crate) format: Format,
    /// Short for --format json
    #[arg(long, global = true, conflicts_with = "format")]
    pub(crate) json: bool,
    /// How the log is written, on standard error
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    #[arg(value_name = "text|json", hide_possible_values = true)]
    pub(crate) log_format: LogFormat,
    /// Log more; twice, still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl Global {
    pub(crate) fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Csv,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a small raw reservoir, run everything on it, show what came out
    Demo(DemoArgs),
    /// Look at sample data and write a neartime.toml to start from
    Init(InitArgs),
    /// Cut files of any name and order by event time into a source's layout
    Import(ImportArgs),
    /// Discover, work and run the cron jobs until SIGTERM
    Run(RunArgs),
    /// Validate configuration, features and connections without processing
    Check,
    /// Look at the task table, and retry what is parked
    #[command(subcommand)]
    Tasks(TasksCommand),
    /// See what was refused, and why
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// List the features: engine, source, version, keys, freshness, rows
    Features,
    /// Ask in SQL: features_store.<feature>, raw.<source>, udb.<feature>, quarantine
    Sql(SqlArgs),
    /// Look an entity up in the online store
    Get(GetArgs),
    /// Rebuild online tables
    #[command(subcommand)]
    Online(OnlineCommand),
    /// Run a feature over older tasks
    Backfill(BackfillArgs),
    /// Make and show the Audience Index Report
    #[command(subcommand)]
    Air(AirCommand),
    /// Set up what lies outside of neartime
    #[command(subcommand)]
    Source(SourceCommand),
    /// Print what makes the features store tables of Amazon Athena
    #[command(subcommand)]
    Athena(AthenaCommand),
    /// Print the completion script of a shell
    Completions {
        #[arg(value_enum)]
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where to make it; kept afterwards. Default: a new directory among the temporary files
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Samples: plain, gzip or zstd files of JSON lines, delimited fields or web server logs; name several of one
    /// source to learn more of its columns
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Write over a configuration that is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The source whose layout, format and event time count
    pub(crate) source: SourceName,
    /// Plain, gzip or zstd files in the source's format
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// A capture of the layout that is no column; once for each
    #[arg(long, value_name = "CAPTURE=VALUE", value_parser = setting)]
    pub(crate) set: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as capture=value".to_owned()),
    }
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Process all that is due now, without back-off and cron jobs, then exit
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TasksCommand {
    /// List tasks, oldest chunk first
    List(TasksListArgs),
    /// Show one task: its files, runs, counts and errors
    Show {
        /// As `tasks list` shows it
        #[arg(value_name = "TASK")]
        task: i64,
    },
    /// Make parked tasks due again
    Retry(RetryArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TasksListArgs {
    /// Only tasks of this source
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<SourceName>,
    /// Only tasks in this state; `parked`: also those with a parked run
    #[arg(long, value_enum)]
    pub(crate) state: Option<State>,
    #[command(flatten)]
    pub(crate) limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    Waiting,
    Running,
    Done,
    Parked,
}

#[derive(Debug, Args)]
pub(crate) struct Limit {
    /// At most so many rows
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// As `tasks list` shows them; none: all that is parked
    #[arg(value_name = "TASK")]
    pub(crate) tasks: Vec<i64>,
    /// Go on without files that are gone
    #[arg(long)]
    pub(crate) accept_missing: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List refused lines and files
    List(QuarantineListArgs),
}

#[derive(Debug, Args)]
pub(crate) struct QuarantineListArgs {
    /// Only of this source
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<SourceName>,
    /// Only of this task
    #[arg(long, value_name = "TASK")]
    pub(crate) task: Option<i64>,
    #[command(flatten)]
    pub(crate) limit: Limit,
}

#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// For example: select brand, sum(actions_count) from features_store.user_num_posts group by 1
    pub(crate) query: String,
    #[command(flatten)]
    pub(crate) limit: Limit,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// As `neartime features` lists it
    pub(crate) feature: FeatureName,
    /// The entity's value, whatever the key is called
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub(crate) id: String,
    /// Fold only the chunks of so long before --as-of
    #[arg(long, value_name = "SPAN")]
    pub(crate) window: Option<Span>,
    /// The end of the window; default: now
    #[arg(long, value_name = "INSTANT", requires = "window")]
    pub(crate) as_of: Option<Instant>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OnlineCommand {
    /// Replay a feature's Parquet files, which are the truth, into the online store
    Rebuild {
        /// As `neartime features` lists it
        feature: FeatureName,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BackfillArgs {
    /// As `neartime features` lists it
    pub(crate) feature: FeatureName,
    /// The first instant: a date, or 2018-08-01T10:40:00Z
    #[arg(long, value_name = "INSTANT")]
    pub(crate) from: Instant,
    /// The first instant that is not meant any more
    #[arg(long, value_name = "INSTANT")]
    pub(crate) to: Instant,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SourceCommand {
    /// Print, or apply, the notification and the policies of a source's bucket
    Setup {
        /// The source, which lies in a bucket
        #[arg(value_name = "NAME")]
        source: SourceName,
        /// Who may list the bucket and get its objects: a user, a role or an account; once for each
        #[arg(long = "reader", value_name = "ARN")]
        readers: Vec<String>,
        /// Write it; what others wrote is kept
        #[arg(long)]
        apply: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AthenaCommand {
    /// Print CREATE EXTERNAL TABLE with partition projection
    Ddl {
        /// As `neartime features` lists it; none: all that run
        feature: Option<FeatureName>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AirCommand {
    /// Make the report and publish it
    Run {
        /// Chunks that end at or before this instant count; default: all that are done
        #[arg(long, value_name = "INSTANT")]
        as_of: Option<Instant>,
    },
    /// Show the live report
    Show(AirShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AirShowArgs {
    /// Only this site, by id or name
    #[arg(long, value_name = "SITE", allow_hyphen_values = true)]
    pub(crate) site: Option<String>,
    /// Only this group of segments
    #[arg(long, value_name = "GROUP", allow_hyphen_values = true)]
    pub(crate) group: Option<String>,
    /// By what, the highest first; default: site, group, index
    #[arg(long, value_enum)]
    pub(crate) sort: Option<AirSort>,
    /// Only rows with so many users of the segment on the site
    #[arg(long, value_name = "N")]
    pub(crate) min_users: Option<u32>,
    #[command(flatten)]
    pub(crate) limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AirSort {
    Index,
    Users,
    Z,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_stand_anywhere() {
        let cli = Cli::try_parse_from(["neartime", "sql", "select 1", "--json", "--config", "a.toml"]).unwrap();
        assert_eq!(cli.global.format(), Format::Json);
        assert_eq!(cli.global.config, PathBuf::from("a.toml"));
    }

    #[test]
    fn what_data_is_called_may_begin_with_a_hyphen() {
        let cli = Cli::try_parse_from(["neartime", "get", "f", "--id", "-5", "--json"]).unwrap();
        assert_eq!(cli.global.format(), Format::Json);
        let Command::Get(args) = cli.command else { panic!("another command: {:?}", cli.command) };
        assert_eq!(args.id, "-5");
        assert!(Cli::try_parse_from(["neartime", "air", "show", "--site", "-1", "--group", "-a", "--json"]).is_ok());
    }

    #[test]
    fn times_are_checked_where_they_are_written() {
        assert!(
            Cli::try_parse_from(["neartime", "get", "f", "--id", "1", "--window", "7d", "--as-of", "2018-09-20"])
                .is_ok()
        );
        assert!(Cli::try_parse_from(["neartime", "get", "f", "--id", "1", "--window", "a week"]).is_err());
        assert!(Cli::try_parse_from(["neartime", "backfill", "f", "--from", "2018-09-20"]).is_err());
    }
}
