/** Networks that Octez v25 knows by name. */
export const networks = {
  mainnet: { chainId: "NetXdQprcVkpaWU", test: false, snapshots: "https://snapshots.tzinit.org/mainnet" },
  shadownet: { chainId: "NetXsqzbfFenSTS", test: true, snapshots: "https://snapshots.tzinit.org/shadownet" },
} as const;
export type NetworkName = keyof typeof networks;
export const networkNames = Object.keys(networks) as NetworkName[];
