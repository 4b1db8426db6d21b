/**
 * What a month of the synthesized stacks costs at Google, roughly: list prices of us-central1 in US dollars for 730
 * hours, without tax, free tiers and committed use. E2, N2 and T2D only: other machine types are named and left out.
 */

import { containers } from "../contract/containers";
import { first, instances, names, podOf, workloads, type Stacks, type Workload } from "./blocks";

export const pricesAsOf = "August 2026";

/**
 * USD a month. Machine families: one vCPU, one GiB of memory (sustained-use discount included where the family has it).
 */
const machines: Readonly<Record<string, { vcpu: number; gib: number; discount: number } | undefined>> = {
  e2: { vcpu: 15.92, gib: 2.134, discount: 1 },
  n2: { vcpu: 23.07, gib: 3.092, discount: 0.8 },
  t2d: { vcpu: 20.08, gib: 2.69, discount: 1 },
};
const gibPerVcpu: Readonly<Record<string, number | undefined>> = { standard: 4, highmem: 8, highcpu: 1 };
const diskGib: Readonly<Record<string, number | undefined>> = {
  "pd-ssd": 0.17,
  "pd-balanced": 0.1,
  "hyperdisk-balanced": 0.08,
};
const clusterFee = 73;
const natAndAddresses = 6;
const loadBalancers = { low: 11, high: 18 };
/** Traffic of one DAL node through Cloud NAT. */
const dalTraffic = { low: 50, high: 100 };

export interface CostItem {
  item: string;
  low: number;
  high: number;
}

export interface Quantities {
  machineType: string;
  nodes: number;
  bootDisk: { type: string; gib: number };
  /** Disks of the baking nodes; a regional disk costs twice. */
  disks: { type: string; gib: number; regional: boolean; count: number }[];
  /** Services of type LoadBalancer. */
  loadBalancers: number;
  dalNodes: number;
}

/** USD a month of one machine, or undefined where its family is not in the table. */
export function machinePrice(machineType: string): number | undefined {
  const [, family = "", shape = "", count] = /^([a-z0-9]+)-([a-z]+)-(\d+)$/.exec(machineType) ?? [];
  const price = machines[family];
  const memory = gibPerVcpu[shape];
  if (!price || memory === undefined) return undefined;
  return Number(count) * (price.vcpu + memory * price.gib) * price.discount;
}

export function estimate(quantities: Quantities): { items: CostItem[]; low: number; high: number; unknown: string[] } {
  const items: CostItem[] = [];
  const unknown: string[] = [];
  const add = (item: string, low: number, high = low): void =>
    void items.push({ item, low: Math.round(low), high: Math.round(high) });
  add("cluster management", clusterFee);
  const machine = machinePrice(quantities.machineType);
  if (machine === undefined) unknown.push(`machine type ${quantities.machineType}`);
  else add(`${quantities.nodes} x ${quantities.machineType}`, quantities.nodes * machine);
  add(
    `${quantities.nodes} boot disks`,
    quantities.nodes * quantities.bootDisk.gib * (diskGib[quantities.bootDisk.type] ?? 0.1),
  );
  for (const { type, gib, regional, count } of quantities.disks) {
    const price = diskGib[type];
    const name = `${count} ${regional ? "regional " : ""}${type} disk${count === 1 ? "" : "s"} of ${gib} GiB`;
    if (price === undefined) unknown.push(name);
    else add(name, count * gib * price * (regional ? 2 : 1));
  }
  add("Cloud NAT and addresses", natAndAddresses);
  if (quantities.loadBalancers > 0) {
    // The price covers the first five forwarding rules.
    const rules = Math.ceil(quantities.loadBalancers / 5);
    add(
      `${quantities.loadBalancers} load balancer${quantities.loadBalancers === 1 ? "" : "s"}`,
      rules * loadBalancers.low,
      rules * loadBalancers.high,
    );
  }
  if (quantities.dalNodes > 0)
    add(
      `traffic of ${quantities.dalNodes} DAL node${quantities.dalNodes === 1 ? "" : "s"}`,
      quantities.dalNodes * dalTraffic.low,
      quantities.dalNodes * dalTraffic.high,
    );
  const sum = (side: "low" | "high"): number => items.reduce((total, item) => total + item[side], 0);
  return { items, low: sum("low"), high: sum("high"), unknown };
}

/** The gibibytes of a claim: "100Gi", "1Ti". */
const gibOf = (storage: unknown): number => {
  const [, number, unit] = /^(\d+)(Gi|Ti)$/.exec(String(storage)) ?? [];
  return Number(number ?? 0) * (unit === "Ti" ? 1024 : 1);
};

/** What both stacks cost. @param stacks by name: as synthesized, or as they are deployed */
export function costOf(stacks: Stacks): { items: CostItem[]; low: number; high: number; notEstimated: string[] } {
  const pool = first(instances(stacks.platform, "google_container_node_pool"));
  const node = first(pool.node_config);
  const zones = (pool.node_locations as unknown[] | undefined)?.length ?? 1;
  const pods = workloads(stacks.baker, "kubernetes_stateful_set_v1");
  const replicas = (of: readonly Workload[]): number => of.reduce((sum, { spec }) => sum + Number(spec.replicas), 0);
  const classes = new Map(
    instances(stacks.baker, "kubernetes_storage_class_v1").map(({ metadata, parameters }) => [
      String(first(metadata).name),
      first(parameters),
    ]),
  );
  const { items, low, high, unknown } = estimate({
    machineType: String(node.machine_type),
    nodes: Number(pool.node_count ?? 1) * zones,
    bootDisk: { type: String(node.disk_type), gib: Number(node.disk_size_gb ?? 50) },
    disks: pods.map((workload) => {
      const claim = first(first(workload.spec.volume_claim_template).spec);
      const parameters = classes.get(String(claim.storage_class_name));
      return {
        type: String(parameters?.type),
        gib: gibOf(first(first(claim.resources).requests).storage),
        regional: parameters?.["replication-type"] === "regional-pd",
        count: replicas([workload]),
      };
    }),
    loadBalancers: workloads(stacks.baker, "kubernetes_service_v1").filter(({ spec }) => spec.type === "LoadBalancer")
      .length,
    dalNodes: replicas(pods.filter((workload) => names(podOf(workload).container).includes(containers.dalNode))),
  });
  return { items, low, high, notEstimated: [...unknown, "traffic out, logs, metrics, backups, taxes"] };
}
