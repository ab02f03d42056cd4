//! Real worker processes killed at named points, judged by the ledgers of their tools.
