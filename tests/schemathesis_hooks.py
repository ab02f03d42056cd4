"""What schemathesis has to be told: TOML is sent as the text that it is, and a request has one idempotency key."""

import schemathesis

# Where a body carries the key: a run's own field, and a signal's id.
KEYS = ("idempotency_key", "id")


@schemathesis.serializer("application/toml")
def toml(ctx, value):
    return value.encode() if isinstance(value, str) else str(value).encode()


@schemathesis.hook
def map_case(ctx, case):
    """Leaves the body's key out beside the header's: that the two agree no schema can say."""
    has_header = any(name.lower() == "idempotency-key" for name in case.headers or {})
    for name in KEYS:
        key = case.body.get(name) if isinstance(case.body, dict) else None
        # A key that is wrong by itself is to be refused, whatever else is sent.
        if has_header and isinstance(key, str) and 1 <= len(key.encode(errors="replace")) <= 255 and "\0" not in key:
            del case.body[name]
    return case
