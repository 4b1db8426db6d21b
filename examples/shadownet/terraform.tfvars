# A baker on the test network whose key lives in the cluster: nothing else is needed to try everything.
# Copy this file to the project's folder and change project, delegate and state. All keys: docs/configuration.md

project = "my-tezos-project" # the id of your Google Cloud project
region  = "us-central1"
zones   = ["us-central1-b", "us-central1-f"]

network = "shadownet"

bakers = {
  alice = {
    delegate     = "tz1Qi1VXJsKxxbB98TbZHcp2K6USAcTRYjD5" # an example: put your own
    hot_test_key = true                                   # the key itself: secrets.auto.tfvars, see secrets.auto.tfvars.example
  }
}

# Two baking nodes in two zones instead of one on a regional disk:
# experimental_active_standby_mode = true

# Where Terraform keeps its state; without it, in local files:
# state = { bucket = "my-tezos-project-state", prefix = "shadownet" }
