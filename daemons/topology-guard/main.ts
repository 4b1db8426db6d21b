export function main(): Promise<void> {
  return Promise.reject(new Error("not built yet"));
}
