"""What schemathesis has to be told: TOML is sent as the text that it is."""

import schemathesis


@schemathesis.serializer("application/toml")
def toml(ctx, value):
    return value.encode() if isinstance(value, str) else str(value).encode()
