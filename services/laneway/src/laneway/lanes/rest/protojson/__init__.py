"""ProtoJSON: messages as JSON and back, compiled for each message type from its descriptor.

Knows no HTTP. What the rules are: https://protobuf.dev/programming-guides/json. Why we do not use
`google.protobuf.json_format`: docs/decisions/0009-compiled-json.md.
"""
