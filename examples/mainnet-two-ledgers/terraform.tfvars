# A mainnet baker whose consensus key is on two Ledgers (the same seed) in two houses.
# The watermark is in the cluster, so that the second Ledger can take over without signing anything twice.
# All keys: docs/configuration.md

project = "my-tezos-project"
region  = "europe-west4"
zones   = ["europe-west4-a", "europe-west4-b"]

network      = "mainnet"
history_mode = "rolling"
disk         = { type = "pd-ssd", size_gib = 200 }

# A snapshot that somebody vouches for. Without it: the newest of the network.
# snapshot = { url = "https://snapshots.tzinit.org/mainnet/rolling", block_hash = "BL..." }

bakers = {
  alice = {
    delegate           = "tz1V42VD9TVnYSZst4q1R2zcEeeo5qWzh3Zv"
    consensus_keys     = ["tz1fomsgav8DApz9EgJiqeVguMkvPsKQdPXh"] # the next one beside it before a rotation
    authentication_key = "tz1SE6WhcvDQmPcidqXQtBrcirUUjC8Rync2" # only this baker may ask the signers

    signers = {
      home1 = {
        ssh_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICZM5QzPy/6s37GbqUCnA6KP6jQxJ/wSVPXrgW5AOqfG home1"
        port           = 8443
      }
      home2 = {
        ssh_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICotwerfsyrmWjEcs8+tiZHw9u3wqeXiC+72UHEyfNTf home2"
        port           = 8445
      }
      # One that is reached over a VPN instead of a tunnel: docs/signer-link.md#signers-by-url
      # office = { url = "http://10.8.0.5:6732" }
    }

    accuser               = true
    liquidity_baking_vote = "pass"
  }
}

signer_link = {
  source_ranges   = ["203.0.113.7/32", "198.51.100.0/24"] # where the houses come from; ["0.0.0.0/0"] if that changes
  host_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE6kSiU/98P7QHLvEZ3I39nBFTSk2BLFaDmtw8mBHkK0 signer-link"
}

monitoring = {
  slack_channel = "#bakery"
  emails        = ["bakery@example.org"]
  email_from    = "alerts@example.org"
  smtp_host     = "smtp.example.org:587"
  smtp_user     = "alerts"
}

maintenance = {
  start      = "2026-01-05T08:00:00Z"
  end        = "2026-01-05T14:00:00Z"
  recurrence = "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH"
  exclusions = {
    protocol-activation = { start = "2026-12-01T00:00:00Z", end = "2026-12-04T00:00:00Z" }
  }
}

labels = { team = "bakery", environment = "mainnet" }

state = { bucket = "my-tezos-project-state", prefix = "mainnet" }

# Two baking nodes in two zones instead of one on a regional disk. Read docs/runbooks before you switch a running baker.
# experimental_active_standby_mode = true
