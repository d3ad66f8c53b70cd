# `docker buildx bake` builds the images for both architectures; `--push` publishes them.
variable "REGISTRY" { default = "localhost:5001" }
variable "VERSION" { default = "0.1.0" }
variable "REVISION" { default = "unknown" }

group "default" { targets = ["services", "operator"] }

target "services" {
  context    = "."
  dockerfile = "services/Dockerfile"
  platforms  = ["linux/amd64", "linux/arm64"]
  tags       = ["${REGISTRY}/laneway:${VERSION}"]
  args       = { VERSION = VERSION, REVISION = REVISION }
  attest     = ["type=provenance,mode=max", "type=sbom"]
}

target "operator" {
  inherits   = ["services"]
  dockerfile = "operator/Dockerfile"
  tags       = ["${REGISTRY}/laneway-operator:${VERSION}"]
}
