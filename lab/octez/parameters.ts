/** What the sandbox's chain begins with: the constants of protocol 025, as a sandbox of Octez 25.1 showed them. */
import { ushuaia } from "../../tezos/protocols";

export const protocol = ushuaia.hash;
/** Of every chain that begins with the genesis block of `--network sandbox`. */
export const sandboxChainId = "NetXdQprcVkpaWU";
/** The published key that may activate a protocol there (octez.tezos.com: sandboxed mode). */
export const activatorKey = "edsk31vznjHSSpGExDMHYASz45VZqXN4DPxvsa4hAyY8dHM28cZzp6";

const ratio = (numerator: number, denominator: number) => ({ numerator, denominator });
const textRatio = (numerator: string, denominator: string) => ({ numerator, denominator });

const consensus = {
  ...{ consensus_rights_delay: 2, blocks_preservation_cycles: 1, delegate_parameters_activation_delay: 2 },
  ...{ tolerated_inactivity_period: 2, nonce_revelation_threshold: 8, cycles_per_voting_period: 8 },
  ...{ proof_of_work_threshold: "4611686018427387903", vdf_difficulty: "50000", max_operations_time_to_live: 8 },
  ...{ delay_increment_per_round: "1", consensus_committee_size: 256, consensus_threshold_size: 170 },
  minimal_participation_ratio: ratio(2, 3),
  aggregate_attestation: true,
  allow_tz4_delegate_enable: true,
  all_bakers_attest_activation_threshold: ratio(1, 2),
};
const economy = {
  ...{ minimal_stake: "6000000000", minimal_frozen_stake: "600000000", limit_of_delegation_over_baking: 19 },
  issuance_weights: {
    ...{ base_total_issued_per_minute: "80007812", baking_reward_fixed_portion_weight: 5120 },
    ...{ baking_reward_bonus_weight: 5120, attesting_reward_weight: 10240, seed_nonce_revelation_tip_weight: 1 },
    ...{ vdf_revelation_tip_weight: 1, dal_rewards_weight: 2275 },
  },
  ...{ percentage_of_frozen_deposits_slashed_per_double_baking: 500, max_slashing_per_block: 10000 },
  max_slashing_threshold: ratio(1, 3),
  ...{ global_limit_of_staking_over_baking: 9, edge_of_staking_over_delegation: 3 },
  adaptive_rewards_params: {
    issuance_ratio_final_min: textRatio("1", "400"),
    issuance_ratio_final_max: textRatio("1", "10"),
    issuance_ratio_initial_min: textRatio("9", "200"),
    issuance_ratio_initial_max: textRatio("11", "200"),
    ...{ initial_period: 10, transition_period: 50, max_bonus: "50000000000000" },
    growth_rate: textRatio("1", "100"),
    center_dz: textRatio("1", "2"),
    radius_dz: textRatio("1", "50"),
  },
  ...{ liquidity_baking_subsidy: "5000000", liquidity_baking_toggle_ema_threshold: 1000000000 },
  ...{ quorum_min: 2000, quorum_max: 7000, min_proposal_quorum: 500 },
};
const operations = {
  ...{ hard_gas_limit_per_operation: "1040000", hard_gas_limit_per_block: "1040000", origination_size: 257 },
  ...{ cost_per_byte: "250", hard_storage_limit_per_operation: "60000", direct_ticket_spending_enable: false },
  ...{ native_contracts_enable: true, swrr_new_baker_lottery_enable: false, tz5_account_enable: true },
  ...{ cache_script_size: 100000000, cache_stake_distribution_cycles: 5, cache_sampler_state_cycles: 5 },
  ...{ cache_stake_info_cycles: 5, cache_swrr_selected_distribution_cycles: 5 },
};
const dal = {
  dal_parametric: {
    ...{ feature_enable: true, incentives_enable: true, dynamic_lag_enable: true, number_of_slots: 16 },
    ...{ attestation_lag: 5, attestation_lags: [1, 2, 3, 4, 5], attestation_threshold: 66 },
    minimal_participation_ratio: textRatio("16", "25"),
    rewards_ratio: textRatio("1", "10"),
    traps_fraction: textRatio("1", "2000"),
    ...{ redundancy_factor: 8, page_size: 3967, slot_size: 380832, number_of_shards: 256 },
  },
};
const rollups = {
  ...{ smart_rollup_arith_pvm_enable: false, smart_rollup_origination_size: 6314 },
  ...{ smart_rollup_challenge_window_in_blocks: 201600, smart_rollup_stake_amount: "10000000000" },
  ...{ smart_rollup_commitment_period_in_blocks: 150, smart_rollup_max_lookahead_in_blocks: 432000 },
  ...{ smart_rollup_max_active_outbox_levels: 151200, smart_rollup_max_outbox_messages_per_level: 100 },
  ...{ smart_rollup_number_of_sections_in_dissection: 32, smart_rollup_timeout_period_in_blocks: 100800 },
  ...{ smart_rollup_max_number_of_cemented_commitments: 5, smart_rollup_max_number_of_parallel_games: 32 },
  smart_rollup_reveal_activation_level: {
    ...{ raw_data: { Blake2B: 0 }, metadata: 0, dal_page: 1, dal_parameters: 1 },
    dal_attested_slots_validity_lag: 241920,
  },
  ...{ smart_rollup_private_enable: true, smart_rollup_riscv_pvm_enable: false },
  smart_rollup_canonical_rollup_address: "sr1Ghq66tYK9y3r8CC1Tf8i8m5nxh8nTvZEf",
  ...{ zk_rollup_enable: false, zk_rollup_origination_size: 4000, zk_rollup_min_pending_to_process: 10 },
  zk_rollup_max_ticket_payload_size: 2048,
};

export interface ChainTimes {
  /** Whole seconds, at least 1. */
  blockSeconds: number;
  blocksPerCycle: number;
  blocksPerCommitment: number;
}
/** The protocol's parameters that an activation may set. */
export const sandboxConstants = ({ blockSeconds, blocksPerCycle, blocksPerCommitment }: ChainTimes) => ({
  ...{ ...consensus, ...economy, ...operations, ...dal, ...rollups },
  ...{ minimal_block_delay: String(blockSeconds), blocks_per_cycle: blocksPerCycle },
  blocks_per_commitment: blocksPerCommitment,
});

/** In mutez, the same for each delegate: with four others than ours there is a quorum without us. */
const balance = "4000000000000";
/** The file for `octez-client activate protocol`. @param publicKeys of the delegates */
export const sandboxParameters = (publicKeys: readonly string[], times: ChainTimes) => ({
  bootstrap_accounts: publicKeys.map((key) => [key, balance]),
  ...sandboxConstants(times),
});
