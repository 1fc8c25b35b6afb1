//! Every bound of the service with its reason. A queue, wait, frame, line or retry without a row here is a mistake.

use std::time::Duration;

/// A model's name. Hub names stay under 100 bytes; 256 leaves room and keeps log lines readable.
pub const MODEL_NAME_BYTES: usize = 256;
/// The readable part of an instance id: with `-xxxxxxxx.log.9` it stays far below the 255 bytes of a file name.
pub const INSTANCE_SLUG_CHARS: usize = 48;
/// Models in one configuration. Scale is proven at 1,000; ten times that is a mistake in a generator script.
pub const MODELS: usize = 10_000;
/// Groups in one configuration: an actor each. Every tenth model of the most there may be begins one then.
pub const GROUPS: usize = 1000;
/// Members of one group, and models that one model may be started after: each of them is one after another, and what is
/// done at an event grows with their square. Honest ones have two or three.
pub const MEMBERS: usize = 100;
/// Before a model that this one is started after is asked for again, where the request was lost or not taken in: it
/// comes back by itself in milliseconds, and a crowd of requests takes about this long to be served.
pub const AFTER_RETRY: Duration = Duration::from_secs(1);
/// Between two looks at who is on record, for a group that does not know yet of all its members: it takes no decision
/// before, and one look costs a copy of all records.
pub const CENSUS_EVERY: Duration = Duration::from_millis(100);
/// Before a group that could not be started is tried again: each try lasts a second, and its models wait for it.
pub const GROUP_RETRY: Duration = Duration::from_secs(5);
/// A configuration file. The largest honest one (10,000 models) has about 2 MiB.
pub const CONFIG_BYTES: u64 = 8 * 1024 * 1024;
/// Faults of one configuration that are told one by one; a person mends no more in one sitting, the rest is counted.
pub const CONFIG_FAULTS: usize = 200;
/// The longest duration in a configuration: tokio's timers end at about two years, and a longer one is a slip of the unit.
pub const DURATION_MAX: Duration = Duration::from_secs(31_557_600);
/// Restarts that a sliding window may allow: the moments of all of them are kept for each instance.
pub const WINDOW_RESTARTS: u32 = 1000;
/// A delay before a restart grows by this factor at most: from 1 ms the longest delay is reached in five steps then.
pub const BACKOFF_FACTOR_MAX: f64 = 100.0;
/// Spawns at one time: each costs the spawner's thread 0.5 ms, and more at once starve what already runs.
pub const SPAWNS_AT_ONCE_MAX: usize = 64;
/// Bytes of a socket's path: `sun_path` has 108 with its closing NUL.
pub const SOCKET_PATH_BYTES: usize = 107;
/// Folders above the working directory in which a backend path is looked for, by the management contract.
pub const BACKEND_PATH_PARENTS: usize = 5;
/// Escalations of one instance in a row. The root allows three restarts in five minutes, so that the fourth in that
/// time ends the service; an instance that fails too slowly for that is parked instead of a fifth.
pub const ESCALATIONS: u32 = 4;
/// The least delay of restarts that go on for ever: ten a second cost less than 1 % of a core in spawns.
pub const RETRY_BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The least memory limit of a backend: below it the dynamic linker of a C program fails before `main()`.
pub const BACKEND_MEMORY_MIN: u64 = 4 * 1024 * 1024;
/// The least size of a log file before it is rotated: the bytes kept of one long line.
pub const LOG_FILE_BYTES_MIN: u64 = OUTPUT_LINE_BYTES as u64;
/// Rotated log files of one instance: a rotation renames each of them.
pub const LOG_FILES_KEPT_MAX: u32 = 100;

/// A frame on the CLI or handshake socket. Requests have a few hundred bytes; this stops memory exhaustion by one frame.
pub const FRAME_BYTES: i64 = 1024 * 1024;
/// Parts of a multipart message that are kept before the rest is thrown away. Honest messages have at most two.
pub const FRAME_PARTS: usize = 8;
/// Requests of all clients inside the tree at one time: 1,024 kept a flood at 9.5 MB at full speed, without a bound it took 430 MB.
pub const GATEWAY_CREDITS: usize = 1024;
/// Questions that the registry answers before others on its thread have a turn. One takes microseconds, a `status` of 1,000 models
/// some milliseconds; without a bound a few clients that poll would silence timers, health and restarts.
pub const DIRECT_ANSWERS_IN_A_ROW: usize = 16;
/// Messages received or replies sent in one turn of a gateway's loop, so that neither direction starves the other.
pub const GATEWAY_BATCH: usize = 256;
/// Replies kept for a peer that does not read, before the oldest is dropped and counted. Who reads while it sends without a
/// pause lags thousands of replies behind; with 3,072 of them it lost one in ten. [`BACKLOG_BYTES`] bounds them all.
pub const PEER_BACKLOG: usize = 16 * 1024;
/// Peers with a backlog at one time; beyond it the peer that waited longest is given up.
pub const BACKLOGGED_PEERS: usize = 1024;
/// Bytes in all backlogs together: a `status` of 1,000 models has 400 KB, and 1,024 peers may have a backlog.
pub const BACKLOG_BYTES: usize = 16 * 1024 * 1024;
/// How soon a backlog is tried again at first; libzmq does not tell when one peer of a ROUTER can be written to.
pub const BACKLOG_RETRY_MIN: Duration = Duration::from_millis(1);
/// The slowest pace of these tries: 1,024 of them cost a millisecond.
pub const BACKLOG_RETRY_MAX: Duration = Duration::from_millis(100);
/// Requests under way at the model desk (loads that are waited for, unloads), apart from [`GATEWAY_CREDITS`] so
/// that a thousand slow loads do not delay `status`.
pub const GATEWAY_DESK_REQUESTS: usize = 2048;
/// Replies that libzmq queues for one peer before the backlog takes over.
pub const PEER_SEND_QUEUE: i32 = 256;
/// Requests that libzmq queues from one peer: each may have [`FRAME_BYTES`], and the client's own queue comes on top.
pub const PEER_RECEIVE_QUEUE: i32 = 64;
/// Connections waiting to be accepted on one socket: a burst of clients at a restart.
pub const LISTEN_BACKLOG: i32 = 512;
/// Descriptors that must be free before a gateway opens: libzmq takes eleven for its threads and two sockets.
pub const GATEWAY_DESCRIPTORS: usize = 16;
/// How soon it looks for them again; [`SOCKET_TAKEOVER`] bounds its tries.
pub const DESCRIPTORS_RETRY: Duration = Duration::from_millis(50);
/// How long a gateway waits for the lock of its predecessor in this process, which may still be sending.
pub const SOCKET_TAKEOVER: Duration = Duration::from_secs(2);
/// How long the service waits at its end for a gateway whose actor is gone: as long as it may wait for its predecessor's
/// lock, and then send.
pub const SOCKETS_CLOSE: Duration = Duration::from_secs(SOCKET_TAKEOVER.as_secs() + 3);
/// Lines about refused messages come at most this often; the rest is counted in the next one.
pub const REFUSAL_LOG_EVERY: Duration = Duration::from_secs(1);
/// Characters of a refused request that an error text may echo.
pub const ECHO_CHARS: usize = 256;
/// How long unsent replies may hold the end of a socket (a `stop-service` answer must get out).
pub const SOCKET_LINGER: Duration = Duration::from_millis(500);
/// A correlation id is echoed, so its length is bounded: a uuid has 36 bytes.
pub const CORRELATION_ID_BYTES: usize = 1024;

/// A gateway whose sockets were handed over to a new service goes on to pass its clients on to that one; nobody asked for so
/// long, and it ends. A person's next command comes later or reaches the new one, programs that poll do so each second.
pub const RELAY_QUIET: Duration = Duration::from_secs(2);
/// How long it passes on clients that ask without such a pause: they may connect anew any time, and most do.
pub const RELAY_FOR: Duration = Duration::from_secs(15 * 60);
/// After that it waits so long for a shorter pause of all of them.
pub const RELAY_LAST: Duration = Duration::from_secs(60);
/// The pause that will do then: a client that asked within it is not in the midst of a request.
pub const RELAY_LAST_QUIET: Duration = Duration::from_millis(50);
/// Clients whose requests it has under way at one time, each over a socket of about 50 KiB. libzmq gives 1,023 of them.
pub const RELAY_LINKS: usize = 512;
/// Requests that it has under way: as many as a gateway has.
pub const RELAY_OWED: usize = GATEWAY_CREDITS + GATEWAY_DESK_REQUESTS;
/// Such a socket takes no further request after this: where the new service is replaced in turn, the next request finds the
/// newest one, well before [`RELAY_QUIET`] is over.
pub const RELAY_LINK_AGE: Duration = Duration::from_secs(1);
/// How often it looks whether the new service has come, while requests wait: a new core takes some tenths of a second.
pub const RELAY_LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a new binary may take to answer one question when it is tried: milliseconds, on a disk that sleeps some seconds.
pub const TRIAL: Duration = Duration::from_secs(20);
/// What it may write in an answer: the effective configuration of 10,000 models is the longest.
pub const TRIAL_OUTPUT_BYTES: usize = CONFIG_BYTES as usize;
/// Characters of its words that are told when it is refused: some faults of a configuration.
pub const TRIAL_WORDS: usize = 2000;
/// Before a gateway hands its sockets over, unloads that are under way may end: most do at once, and what does not is asked of
/// the new service.
pub const HANDOVER_UNLOADS: Duration = Duration::from_secs(5);
/// How long a new service waits for the models of the one before it to be taken up, before it says that they were lost: a
/// thousand take less than a second.
pub const TAKEN_UP: Duration = Duration::from_secs(10);
/// How often it looks.
pub const TAKEN_UP_EVERY: Duration = Duration::from_millis(5);
/// What one service leaves to the next about an upgrade: [`MODELS`] names and pids.
pub const UPGRADE_NOTE_BYTES: u64 = 4 * 1024 * 1024;
/// How long requests inside the tree may take to come out of it when the sockets are handed over: they are given up, which
/// takes microseconds.
pub const HANDOVER_SETTLES: Duration = Duration::from_secs(2);

/// `load-model` without `wait` answers after this long at the latest: the Python CLI gives up after 2 s.
pub const LOAD_PATIENCE: Duration = Duration::from_millis(1500);
/// Requests waiting for one model to get ready.
pub const LOAD_WAITERS: usize = 1024;
/// Requests waiting for one model to be stopped: as many as may wait for it to get ready.
pub const STOP_WAITERS: usize = LOAD_WAITERS;
/// An ask between actors. Handlers take microseconds; a second would already be a fault worth naming.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer that waits for a process (load to the end, unload, restart): the longest start (an hour) and its retries.
/// Who has not answered by then never will.
pub const LONG_ASK_TIMEOUT: Duration = Duration::from_secs(2 * 3600);

/// An actor of the service's own that makes no progress for so long is replaced. Three times [`ASK_TIMEOUT`], the longest
/// that one of them waits for another while it holds everything else back.
pub const ACTOR_HEARTBEAT: Duration = Duration::from_secs(30);
/// The thread of all actors stands still when it does not tick for so long. Handlers take microseconds; a machine that is
/// badly out of memory may hold one up for seconds.
pub const THREAD_STILL: Duration = Duration::from_secs(10);

/// Lifecycle events kept for `events` and the timeline: about 2 MiB.
pub const EVENT_RING: usize = 4096;

/// Lines of output attached to an exit: enough for a Python traceback.
pub const EXIT_OUTPUT_LINES: usize = 20;
/// Bytes read from the end of a log file for these lines.
pub const EXIT_OUTPUT_BYTES: u64 = 8 * 1024;
/// A line of output is cut here: endless lines must not fill the memory.
pub const OUTPUT_LINE_BYTES: usize = 4096;
/// Bytes read from one instance's log in one turn, so that a flood does not starve the others.
pub const OUTPUT_TURN_BYTES: usize = 256 * 1024;
/// Lines that one `logs` answer may carry.
pub const LOG_LINES: usize = 2000;
/// Bytes read from the end of a log for a `logs` answer.
pub const LOG_TAIL_BYTES: u64 = 1024 * 1024;
/// Lines of one instance passed to the service's own log per second; the rest stays in its file and is counted.
pub const OUTPUT_LINES_PER_SECOND: usize = 200;

/// Processes looked at when the CPU time of a backend and its descendants is summed.
pub const SAMPLED_DESCENDANTS: usize = 64;
/// Reports kept for an instance whose actor is just being replaced.
pub const UNCLAIMED_REPORTS: usize = 16;
/// Moments of a health interval at which questions are asked: at the default of 5 s the service wakes 20 times a second for
/// them, however many instances there are.
pub const HEALTH_BEATS: u32 = 100;
/// A loading process is looked at for progress (output, CPU time) at most this often; a silent one whose CPU time was
/// measured once is measured again after it.
pub const PROGRESS_MIN: Duration = Duration::from_secs(1);
/// And at least this often.
pub const PROGRESS_MAX: Duration = Duration::from_secs(10);
/// CPU time that counts as progress of a loading process: a timer that wakes up now and then stays below it.
pub const PROGRESS_CPU: Duration = Duration::from_millis(50);
/// Readiness attempts come this often at first and slow down to [`READY_ATTEMPT_MAX`].
pub const READY_ATTEMPT_MIN: Duration = Duration::from_millis(2);
/// The slowest pace of readiness attempts.
pub const READY_ATTEMPT_MAX: Duration = Duration::from_millis(250);
/// An HTTP answer to a health or readiness probe is read up to here.
pub const PROBE_ANSWER_BYTES: usize = 64 * 1024;
/// How long the body of such an answer may come in after its headers: an honest one comes along with them.
pub const PROBE_BODY: Duration = Duration::from_millis(100);

/// Added to the longest stop of any instance when all are stopped: spawns under way, scheduling.
pub const STOP_SLACK: Duration = Duration::from_secs(5);
/// How long a KILL of everything is waited for; what is left then is ended by the launcher itself.
pub const KILL_ALL: Duration = Duration::from_secs(5);
/// How long the tree itself may take to stop: gateways let their last replies out, everything else is at once.
pub const TREE_STOP: Duration = Duration::from_secs(10);

/// How long the command line waits for an answer unless the command may load a model: handlers take milliseconds.
pub const CLI_PATIENCE: Duration = Duration::from_secs(10);
/// How long the command line waits for a model to load: the stall limit of a start has the same length.
pub const CLI_LOAD_PATIENCE: Duration = Duration::from_secs(300);
/// How long the command line waits for a service that lives and whose core is just being replaced: a start with a thousand
/// models takes a second.
pub const CLI_GAP: Duration = Duration::from_secs(10);
/// How long the command line waits for an upgrade: the trial of the binary, and a new core that is given up at its limit
/// (a minute, unless it is configured otherwise).
pub const CLI_UPGRADE_PATIENCE: Duration = Duration::from_secs(300);
/// A reply that the command line takes. 10,000 models with their last lines of output have about 40 MiB.
pub const CLI_REPLY_BYTES: i64 = 64 * 1024 * 1024;
/// While the command line waits it looks this often whether anybody still listens on the endpoint.
pub const CLI_LISTENER_CHECK: Duration = Duration::from_secs(1);
/// Opening a TCP endpoint to see whether anybody listens; beyond it ZeroMQ is left to try.
pub const CLI_TCP_CHECK: Duration = Duration::from_secs(1);
/// Pace of `logs -f` and `events -f`: feels immediate, and costs the service next to nothing.
pub const CLI_FOLLOW_EVERY: Duration = Duration::from_millis(250);
/// Pace of `status --watch`: uptimes count seconds.
pub const CLI_WATCH_EVERY: Duration = Duration::from_secs(1);
/// Pace at which a waiting `load-model` reads the state of the model for its progress line.
pub const CLI_PROGRESS_EVERY: Duration = Duration::from_millis(300);
/// How long such a progress line waits for the state: a detail must not hold back the answer that counts.
pub const CLI_STATE_PATIENCE: Duration = Duration::from_millis(500);
/// The longest `--timeout`: a year is "for ever" and still fits every clock.
pub const CLI_LONGEST_WAIT: Duration = Duration::from_secs(366 * 24 * 3600);
/// `start-service --daemonize` waits this long for the sockets; models load afterwards.
pub const DAEMON_READY: Duration = Duration::from_secs(30);
/// How long the heart of a daemon that did not get ready may take, once its time for an orderly end is over and it was told to
/// hurry: it kills its core and the models, and dismisses its guard.
pub const DAEMON_HURRY: Duration =
    Duration::from_secs(HEART_KILL_WAIT.as_secs() + GUARD_DISMISSED.as_secs() + 5);
/// Pace at which a starting daemon is looked at.
pub const DAEMON_CHECK_EVERY: Duration = Duration::from_millis(25);
/// How long a listener may take to show that it is a live service before a start gives up on it.
pub const LIVE_SERVICE_PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of the daemon's log shown when it fails to start.
pub const DAEMON_LOG_TAIL_BYTES: u64 = 8 * 1024;
/// Lines of the daemon's log shown when it fails to start: enough for all faults of a configuration.
pub const DAEMON_LOG_TAIL_LINES: usize = 20;
/// The daemon's log file; one older file of this size is kept beside it.
pub const SERVICE_LOG_BYTES: u64 = 16 * 1024 * 1024;

/// One line of the service's own log: the longest honest one carries the last output of a failed start.
pub const SERVICE_LOG_LINE_BYTES: usize = 8 * 1024;
/// Log lines waiting for a slow reader of stderr before they are dropped and counted; 16 MiB at the very worst.
pub const SERVICE_LOG_QUEUE: usize = 2048;
/// Log lines written with one system call in a storm; what a pipe takes at once.
pub const SERVICE_LOG_BATCH_BYTES: usize = 64 * 1024;
/// The widest field of a log pattern: a wider one is a mistake and would pad every line to that length.
pub const LOG_FIELD_WIDTH: usize = 256;
/// How long the end of the service waits for its last log lines to be written.
pub const SERVICE_LOG_FLUSH: Duration = Duration::from_millis(500);

/// Threads of one process whose children are looked up when CPU time is summed. Children come from the first threads.
pub const SAMPLED_THREADS: usize = 64;
/// Turns of the output thread come this far apart: a backend that writes line by line must not wake it for each.
pub const OUTPUT_TURN_EVERY: Duration = Duration::from_millis(20);
/// A follower of a log that is further behind skips forward and counts what it skipped.
pub const OUTPUT_BACKLOG_BYTES: u64 = 1024 * 1024;
/// How often logs are looked at where the system has no inotify instance or watch left.
pub const LOG_LOOK_EVERY: Duration = Duration::from_secs(1);
/// The smallest size a log is rotated at: a smaller one would be rotated at each line.
pub const LOG_ROTATE_MIN_BYTES: u64 = 4096;
/// Questions for log lines that wait for an answer; as many as requests of all clients inside the tree.
pub const TAILS_PENDING: usize = GATEWAY_CREDITS;
/// Exits and wake-ups taken from the kernel at one time.
pub const SPAWNER_EVENTS: usize = 256;
/// Orders taken in one turn of the output thread before it looks at the logs again.
pub const OUTPUT_ORDERS: usize = 64;
/// How often orphans of an ended group are looked for, where we are their reaper (process 1, subreaper).
pub const ORPHANS_EVERY: Duration = Duration::from_millis(20);
/// How long an ended group is looked at for orphans; a KILL takes milliseconds.
pub const ORPHANS_FOR: Duration = Duration::from_secs(10);
/// How long a start waits for the cgroup of the process before it to be empty: a KILL takes milliseconds; what the kernel
/// holds longer must not keep the model down, nor others that wait in line behind it.
pub const HELD_START: Duration = Duration::from_secs(5);
/// How often such a start is tried: far shorter than the start itself takes.
pub const HELD_STARTS_EVERY: Duration = Duration::from_millis(2);
/// How long the cgroup of a gone backend is emptied and tried to be removed; who is left in it was killed, which takes
/// milliseconds unless the kernel holds a process.
pub const CGROUP_LEAVES_FOR: Duration = Duration::from_secs(60);
/// CPU seconds between a backend's limit, where it gets SIGXCPU, and its KILL: time to put things in order. Most programs end at
/// once, and by a signal that names the limit.
pub const CPU_TIME_GRACE: u64 = 5;
/// How long a dropped launcher may take to kill and reap what is left.
pub const LAUNCHER_END: Duration = Duration::from_secs(5);
/// Time beyond its limit that the end of the launcher waits for its threads to notice.
pub const LAUNCHER_END_MARGIN: Duration = Duration::from_secs(1);

/// Clients that the embedded backend remembers as greeted; beyond it the one silent for longest must greet again. About 300 KiB.
pub const BACKEND_PEERS: usize = 1024;
/// Items in one batch of the embedded backend. The reference engine sends some hundred; the answer has as many.
pub const BATCH_ITEMS: usize = 65_536;
/// Protocols in a handshake: a client names one by an index of one byte.
pub const PROTOCOLS: usize = 256;
/// A protocol's name; the longest in use has ten bytes.
pub const PROTOCOL_NAME_BYTES: usize = 128;
/// A connection whose handshake stays unanswered this long is made anew: a backend that binds before it loads
/// answers late, but one that lost the question never does.
pub const READY_ANSWER: Duration = Duration::from_secs(30);
/// One HTTP or TCP readiness attempt: on loopback only a server that is stuck needs longer.
pub const READY_ATTEMPT: Duration = Duration::from_secs(5);
/// Bytes that a backend may send between a question and its answer before the connection is given up.
pub const PROBE_DRAIN_BYTES: usize = 256 * 1024;
/// A datagram on a notify socket; what systemd takes at most.
pub const NOTIFY_BYTES: usize = 4096;
/// Datagrams read from one notify socket before it must pause, and the pause: a flood then slows its sender, not the prober.
pub const NOTIFY_BURST: usize = 64;
/// See [`NOTIFY_BURST`].
pub const NOTIFY_PAUSE: Duration = Duration::from_millis(10);
/// Progress words of one loading process are passed on this often at most.
pub const NOTIFY_STATUS_EVERY: Duration = Duration::from_millis(200);
/// Requests for a reload that wait for the one under way; they share the next reading. As many as fit into the queue to the main loop.
pub const RELOAD_ASKERS: usize = 64;
/// Headers of an HTTP answer to a probe.
pub const PROBE_HEADERS: usize = 100;
/// How long a prober that crashed soon after it began rests before it asks again what was open: short against the slack that an
/// unanswered question has, long against the cost of a crash.
pub const PROBER_REST: Duration = Duration::from_secs(1);
/// How long the end of the prober may take.
pub const PROBER_END: Duration = Duration::from_secs(1);
/// How often requests under way are counted while the service drains; they are answered in microseconds.
pub const DRAIN_CHECK_EVERY: Duration = Duration::from_millis(5);
/// How long the clean-up of an interrupted demo may take in all.
pub const DEMO_CLEAN_UP: Duration = Duration::from_secs(30);
/// How long processes of a private service that were killed may take to be gone: the kernel frees their memory.
pub const STAGE_KILLED: Duration = Duration::from_secs(10);

/// Events of one subject that `chaos` keeps since it was last quiet: a row of restarts up to any sensible limit.
pub const CHAOS_HISTORY: usize = 256;
/// Events are written down a little after what they tell of was decided; windows are judged that much more leniently.
pub const CHAOS_EVENT_SLACK: Duration = Duration::from_millis(200);
/// A gateway that panicked is bound anew within this time, with all that waits for the lock of its predecessor.
pub const CHAOS_DISRUPTION: Duration = Duration::from_secs(3);
/// Growth of the service's memory over a run that is no leak: allocators keep what a burst needed.
pub const CHAOS_MEMORY_PERCENT: u64 = 5;
/// And this much on top in a short run: buffers of floods, of a gateway that was replaced, of lines on their way to the log
/// are taken once, and the ring of [`EVENT_RING`] events fills up.
pub const CHAOS_MEMORY_SLACK: u64 = 8 * 1024 * 1024;
/// After this long what is taken once has been taken: each kind of fault has come some times.
pub const CHAOS_WARM: Duration = Duration::from_secs(120);
/// The answer to the wish that a gateway panics goes out through that gateway: a thread's turn takes microseconds.
pub const CHAOS_ANSWER_LEAVES: Duration = Duration::from_millis(20);
/// A turn of a chaos run: faults come this exactly, and half a core is left to the service.
pub const CHAOS_TURN: Duration = Duration::from_millis(20);
/// An answer from memory to whoever watches a chaos run; asked again in the next turn.
pub const CHAOS_LOOK: Duration = Duration::from_secs(1);
/// An answer from memory to a client of the load: milliseconds on a free machine, and beyond this it counts as lost.
pub const CHAOS_ANSWER: Duration = Duration::from_secs(10);
/// A slowed backend rests so long at one time: short against any health check.
pub const CHAOS_SLOW_STOPPED: Duration = Duration::from_millis(90);
/// And runs so long between two rests.
pub const CHAOS_SLOW_RUNS: Duration = Duration::from_millis(30);
/// A frozen backend that is not replaced runs on after this: default health checks need 20 s to tell.
pub const CHAOS_FREEZE: Duration = Duration::from_secs(30);
/// The most that is written to fill the logs of one model: default quotas (16 MiB, three kept) need 80 MiB.
pub const CHAOS_LOG_BYTES: u64 = 128 * 1024 * 1024;
/// How long after a flood the files of a log are looked at: the service looks at them every 20 ms, and copies for a while.
pub const CHAOS_LOG_SETTLES: Duration = Duration::from_secs(5);
/// How long a client of the load waits for a model it wished for; one that is given up for longer is asked for again.
pub const CHAOS_WISH: Duration = Duration::from_secs(30);
/// Clients are at work this long before the first quiet look at the service: what is made at first use is made then.
pub const CHAOS_WARM_UP: Duration = Duration::from_secs(2);
/// How long the service may take after a run to give back what clients used: closed connections, buffers.
pub const CHAOS_QUIET: Duration = Duration::from_secs(15);
/// All processes of the machine are looked at this often: a few milliseconds each time.
pub const CHAOS_LOOK_EVERY: Duration = Duration::from_millis(200);
/// Broken rules that are told; the first ones matter.
pub const CHAOS_VIOLATIONS: usize = 16;
/// The window of the root supervisor: panics below it are counted over this span, whoever made them.
pub const CHAOS_ROOT_WINDOW: Duration = Duration::from_secs(300);
/// Models of a service that `chaos` starts for itself: as many as scale is proven at.
pub const CHAOS_MODELS: u16 = 1000;
/// Clients at work in a chaos run: each has a thread, three sockets and their threads.
pub const CHAOS_CLIENTS: u16 = 256;
/// The memory of the service is written down this often in a chaos run: often enough to see whether it levels off.
pub const CHAOS_SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// Such samples: three hours of them.
pub const CHAOS_SAMPLES: usize = 1080;
/// The ring of [`EVENT_RING`] events goes on to fill after that: half of the 2 MiB that it takes at most.
pub const CHAOS_EVENT_RING: u64 = 1024 * 1024;
/// A packet between heart and core: the longest holds a path of 4 KiB, or a line for people.
pub const HEART_PACKET_BYTES: usize = 16 * 1024;
/// Until a core is welcomed by the heart that started it: a machine in a storm of starts is slow, and a heart that is gone
/// is noticed at once.
pub const HEART_WELCOME: Duration = Duration::from_secs(10);
/// Beats that wait for a heart that does not read: later ones say nothing new.
pub const HEART_BEATS_WAITING: usize = 16;
/// A beat of the core: ten of them in the shortest patience that is the rule.
pub const HEART_BEAT_EVERY: Duration = Duration::from_secs(1);
/// The heart looks at its core at least this often: beats come as often, so that it costs no wake-up of its own.
pub const HEART_TICK: Duration = Duration::from_secs(1);
/// A heart that did not run itself for so long (three ticks) judges nobody by that time.
pub const HEART_AWAY: Duration = Duration::from_secs(3);
/// How long a core may take to its first beat: it reads the configuration, waits for sockets of its predecessor and takes up
/// a thousand backends; on a loaded machine with a slow disk that is some ten seconds.
pub const HEART_START: Duration = Duration::from_secs(60);
/// The delay before a core is started whose predecessor did not get ready; it doubles with each.
pub const HEART_DELAY_MIN: Duration = Duration::from_millis(100);
/// And ends here: a service that comes back must not be waited for longer than a person does.
pub const HEART_DELAY_MAX: Duration = Duration::from_secs(5);
/// Zombies that the heart keeps for the next core, and exits that it remembers of others: one for each model that may be configured
/// would be as many as the kernel has pids; scale is proven at a thousand.
pub const HEART_ZOMBIES: usize = 4096;
/// How long the heart keeps a zombie that a living core does not ask for: a core asks within milliseconds.
pub const HEART_ZOMBIE_FOR: Duration = Duration::from_secs(10);
/// How long processes may take to be gone after a KILL of the heart or the guard: what is there then, the kernel holds.
pub const HEART_KILL_WAIT: Duration = Duration::from_secs(5);
/// Between two looks at all processes of the machine, while the heart ends what another heart left.
pub const HEART_HUNT_EVERY: Duration = Duration::from_millis(250);
/// Parents above a process that are looked at: no chain of programs that start programs is as long.
pub const PROC_ANCESTORS: usize = 1024;
/// Between two looks at what is being ended.
pub const HEART_END_EVERY: Duration = Duration::from_millis(50);
/// Descriptors that the heart holds for its cores, where its limit of open files allows as many: a readiness channel for each of
/// the thousand models that scale is proven at, all of them just starting, and some.
pub const HEART_HELD: usize = 4096;
/// Descriptors that stay free for the heart's own: lock, logs, pipes, cores that let go, and what a start needs for a moment.
pub const HEART_OWN_FILES: usize = 124;
/// Before heart or core try again to tell what the system had no room for: only time brings that room.
pub const HEART_TELL_RETRY: Duration = Duration::from_millis(50);
/// Packets that a core has not read. It reads at all times; after so many it is as good as wedged, and the rest is dropped.
pub const HEART_OUTBOX: usize = 8192;
/// Before the lock of a pid file is tried again that a guard holds.
pub const PID_FILE_RETRY: Duration = Duration::from_millis(50);
/// How long the lock of a pid file may be held by a process that is not there: the kernel closes files of a dead one one by one.
pub const PID_FILE_SETTLES: Duration = Duration::from_secs(1);
/// How long by a service that lives: the heart of one that was just stopped is gone a moment after its sockets.
pub const PID_FILE_LEAVES: Duration = Duration::from_secs(5);
/// How long a guard waits for the lock of those it guarded after their pipe closed: the same, on a loaded machine.
pub const GUARD_INHERITS: Duration = Duration::from_secs(5);
/// Bytes of a pid file that are looked at.
pub const PID_FILE_BYTES: u64 = 64;
/// Packets of the core that are taken before signals and children have a turn.
pub const HEART_PACKETS_IN_A_ROW: usize = 1024;
/// How long a start waits for a guard that ends what a dead service left: its TERM, its KILL, and some.
pub const GUARD_PATIENCE: Duration =
    Duration::from_secs(GUARD_TERM.as_secs() + HEART_KILL_WAIT.as_secs() + 5);
/// What a guard gives processes to end after TERM: nobody is there any more who would know their own grace.
pub const GUARD_TERM: Duration = Duration::from_secs(10);
/// Before a guard that died is replaced again.
pub const GUARD_RETRY: Duration = Duration::from_secs(5);
/// How long a guard may take to end when it is told that it may: it only has to wake up.
pub const GUARD_DISMISSED: Duration = Duration::from_secs(5);
/// Between two looks at whether it has, and of a guard at whether somebody took over.
pub const GUARD_LOOK_EVERY: Duration = Duration::from_millis(20);

/// A state file: the largest honest one holds 8 KiB of last output, which JSON may make six times as long, and the moments of
/// [`WINDOW_RESTARTS`] restarts twice.
pub const STATE_FILE_BYTES: u64 = 1024 * 1024;
/// Names in a folder of state files that are looked at: three for each of [`MODELS`], and some.
pub const STATE_FILES: usize = 32_768;
/// Bytes of the environment of a process that are searched for marks: the system allows a program 6 MiB of words at most.
pub const ENVIRONMENT_BYTES: u64 = 8 * 1024 * 1024;
/// How soon state that could not be written is tried again: a disk that was full is soon full again, and a person needs longer.
pub const STATE_RETRY: Duration = Duration::from_secs(1);
/// How long the end of the service waits for its state files to be removed; a thousand take milliseconds.
pub const STATE_END: Duration = Duration::from_secs(2);
/// Numbers of events that are kept free for those that were not written down when the service was killed: as many as
/// [`EVENT_RING`] holds, and state is written long before.
pub const EVENTS_AHEAD: u64 = EVENT_RING as u64;
/// How long a launcher waits for the lock of one that was killed: a child that was just being forked for it holds a copy until
/// its program begins.
pub const STATE_TAKEOVER: Duration = Duration::from_secs(1);
/// How often it looks.
pub const STATE_TAKEOVER_EVERY: Duration = Duration::from_millis(5);
/// Notices of a launcher that nobody listens to yet: one for each of [`MODELS`] that is taken over.
pub const NOTICES_KEPT: usize = MODELS;
/// How long the heart may take to tell how a process ended: it does nothing that lasts, and no start of that model waits longer.
pub const COLLECT: Duration = Duration::from_secs(2);
/// How often processes that show no environment are looked at again for marks: an exec shows none for microseconds.
pub const MARKS_LOOKS: usize = 3;
/// Between these looks.
pub const MARKS_LOOK_EVERY: Duration = Duration::from_millis(5);
/// News that a manager of services could not be told yet: a start, a reload and a stop have fewer together.
pub const MANAGER_NEWS: usize = 8;
/// Characters of the line that a manager of services shows; `systemctl status` cuts it at the width of the terminal.
pub const MANAGER_STATUS_CHARS: usize = 512;
/// A manager of services is told no more often than this that the service lives; a shorter `WATCHDOG_USEC` is a slip of the unit.
pub const MANAGER_WATCHDOG_MIN: Duration = Duration::from_millis(50);
/// Sockets that a manager of services may have opened for the service: it has two endpoints, and a slip in a unit adds some.
pub const LISTEN_FDS: usize = 64;
/// How often the line that a manager of services shows is looked at: people read it, and it is sent only when it changed.
pub const MANAGER_STATUS_EVERY: Duration = Duration::from_secs(1);
/// Words for a manager of services on their way to the task that sends it: a start, reloads, a stop.
pub const MANAGER_WORDS: usize = 16;
/// How often the service looks for those of its processes that have to leave the cgroup which was given to it: one may be
/// started between two looks.
pub const CGROUP_MOVES: usize = 8;
/// How long a core waits for the end of a process that an earlier one left and that it killed: it is gone in milliseconds
/// unless the kernel holds it, and then the service is not to wait with its start.
pub const LEFTOVER_END: Duration = Duration::from_secs(1);
