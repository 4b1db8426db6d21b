export * from "./kube-api";
