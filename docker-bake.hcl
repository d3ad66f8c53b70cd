# `docker buildx bake` builds the image for both architectures; `--push` publishes it.
variable "REGISTRY" { default = "localhost:5001" }
variable "VERSION" { default = "0.1.0" }
variable "REVISION" { default = "unknown" }

target "default" {
  context    = "."
  dockerfile = "services/Dockerfile"
  platforms  = ["linux/amd64", "linux/arm64"]
  tags       = ["${REGISTRY}/laneway:${VERSION}"]
  args       = { VERSION = VERSION, REVISION = REVISION }
  attest     = ["type=provenance,mode=max", "type=sbom"]
}
