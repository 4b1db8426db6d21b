export * from "./common";
export { hash32 as hash32f } from "../chain/encode";
