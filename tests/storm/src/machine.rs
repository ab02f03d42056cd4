//! The machine of a storm: how much less than its own share the storm has of it.

/// How many want a core of a machine that a storm has to itself.
const CALM_PER_CORE: f64 = 2.5;
/// Beyond that a storm proves nothing, however long its bounds are.
const SLOWNESS_MAX: f64 = 4.0;

/// How many want a processor, by the last minute; nothing where nobody tells.
pub(crate) fn load() -> Option<f64> {
    let told = std::fs::read_to_string("/proc/loadavg").ok()?;
    told.split(' ').next()?.parse().ok()
}

/// 1 where the storm has the machine to itself, and more where others want it too.
pub(crate) fn slowness(load: f64) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    #[expect(clippy::cast_precision_loss, reason = "cores are few")]
    let calm = CALM_PER_CORE * cores as f64;
    (load / calm).clamp(1.0, SLOWNESS_MAX)
}
