/**
 * The objects, as etcd and the API server's watch cache hold them: one counter for all versions, one ordered history,
 * everything synchronous. With a folder each commit is in its journal before it is answered, so that a new instance
 * begins where the old one was killed.
 */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import {
  copy,
  newUid,
  resourceTypes,
  validate,
  type Json,
  type Meta,
  type ResourceType,
  type StoredObject,
} from "./objects";
import * as failure from "./status";

export interface Commit {
  type: "ADDED" | "MODIFIED" | "DELETED";
  resource: string;
  namespace: string;
  name: string;
  /** The version of this commit. A deleted object carries it too. */
  version: number;
  object: StoredObject;
  previous: StoredObject | undefined;
}

const keyOf = (resource: string, namespace: string, name: string): string => `${resource}/${namespace}/${name}`;
const historyLimit = 4000;
const journalLimit = 50_000;

export class Store {
  private readonly objects = new Map<string, StoredObject>();
  private history: Commit[] = [];
  private version = 1;
  /** Watches and exact lists below this version are answered 410. */
  private compacted = 0;
  private journal: number | undefined;
  private journalLines = 0;

  constructor(
    private readonly now: () => Date,
    private readonly onCommit: (commit: Commit) => void,
    private readonly folder?: string,
  ) {
    if (folder !== undefined) this.load(folder);
  }

  get currentVersion(): number {
    return this.version;
  }
  get oldestVersion(): number {
    return this.compacted;
  }
  /** Forgets the past, as etcd's compaction and a restart of the API server do. */
  compact(): void {
    this.history = [];
    this.compacted = this.version;
  }
  close(): void {
    if (this.journal !== undefined) closeSync(this.journal);
    this.journal = undefined;
  }

  get(type: ResourceType, namespace: string, name: string): StoredObject | undefined {
    return this.objects.get(keyOf(type.resource, namespace, name));
  }
  /** By namespace and name; every namespace where `namespace` is "". */
  list(type: ResourceType, namespace: string): StoredObject[] {
    const prefix = namespace === "" ? `${type.resource}/` : `${type.resource}/${namespace}/`;
    return [...this.objects]
      .filter(([key]) => key.startsWith(prefix))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, object]) => object);
  }
  /** As it was at `version`. @throws ApiError 410 */
  listAt(type: ResourceType, namespace: string, version: number): StoredObject[] {
    if (version < this.compacted) throw failure.listTooOld();
    const state = new Map(this.objects);
    for (const commit of [...this.history].reverse()) {
      if (commit.version <= version) break;
      const key = keyOf(commit.resource, commit.namespace, commit.name);
      if (commit.previous) state.set(key, commit.previous);
      else state.delete(key);
    }
    const prefix = namespace === "" ? `${type.resource}/` : `${type.resource}/${namespace}/`;
    return [...state]
      .filter(([key]) => key.startsWith(prefix))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, object]) => object);
  }
  since(version: number): Commit[] {
    return this.history.filter((commit) => commit.version > version);
  }

  create(type: ResourceType, namespace: string, incoming: Json & { metadata: Json }, uid = newUid()): StoredObject {
    const object = copy(incoming);
    const meta = object.metadata;
    if ((meta.namespace ?? namespace) !== namespace)
      throw failure.badRequest(`the namespace of the provided object does not match the namespace sent on the request`);
    if ((meta.name ?? "") === "" && typeof meta.generateName === "string" && meta.generateName !== "")
      meta.name = meta.generateName + Math.random().toString(36).slice(2, 7).padEnd(5, "x");
    meta.namespace = namespace;
    validate(type, object);
    const name = meta.name as string;
    if (this.get(type, namespace, name)) throw failure.alreadyExists(type, name);
    meta.uid = uid;
    meta.creationTimestamp = this.now()
      .toISOString()
      .replace(/\.\d+Z$/, "Z");
    delete meta.deletionTimestamp;
    return this.commit("ADDED", type, object as StoredObject, undefined);
  }

  /** PUT. `mayCreate` throws where the user may not create. */
  replace(
    type: ResourceType,
    namespace: string,
    name: string,
    incoming: Json & { metadata: Json },
    mayCreate: () => void,
  ): { object: StoredObject; created: boolean } {
    const meta = incoming.metadata;
    if (meta.name !== name)
      throw failure.badRequest(
        typeof meta.name === "string" && meta.name !== ""
          ? `the name of the object (${meta.name}) does not match the name on the URL (${name})`
          : `name must be provided`,
      );
    const existing = this.get(type, namespace, name);
    const uid = typeof meta.uid === "string" ? meta.uid : "";
    if (!existing) {
      if (!type.createOnUpdate) throw failure.notFound(type, name);
      if (uid !== "") throw failure.wrongUid(type, namespace, name, uid, "");
      mayCreate();
      return { object: this.create(type, namespace, incoming), created: true };
    }
    return { object: this.update(type, existing, incoming, !type.unconditionalUpdate), created: false };
  }

  /** The changed object of a PUT or a patch; uid and resourceVersion in it are conditions. */
  update(
    type: ResourceType,
    existing: StoredObject,
    incoming: Json & { metadata: Json },
    needsVersion: boolean,
  ): StoredObject {
    const { namespace, name, uid } = existing.metadata;
    const meta = incoming.metadata;
    if ((meta.namespace ?? namespace) !== namespace)
      throw failure.badRequest(`the namespace of the provided object does not match the namespace sent on the request`);
    if (typeof meta.uid === "string" && meta.uid !== "" && meta.uid !== uid)
      throw failure.wrongUid(type, namespace, name, meta.uid, uid);
    const version = typeof meta.resourceVersion === "string" ? meta.resourceVersion : "";
    if (version === "" || version === "0") {
      if (needsVersion)
        throw failure.invalidUpdate(
          type,
          name,
          "metadata.resourceVersion",
          "Invalid value: 0: must be specified for an update",
        );
    } else if (!/^\d+$/.test(version))
      throw failure.invalidUpdate(
        type,
        name,
        "metadata.resourceVersion",
        `Invalid value: "${version}": strconv.ParseUint: invalid syntax`,
      );
    else if (version !== existing.metadata.resourceVersion) throw failure.modified(type, name);
    const object = copy(incoming) as Json & { metadata: Meta };
    object.metadata = {
      ...object.metadata,
      name,
      namespace,
      uid,
      resourceVersion: existing.metadata.resourceVersion,
      creationTimestamp: existing.metadata.creationTimestamp,
    };
    if (existing.metadata.deletionTimestamp !== undefined)
      object.metadata.deletionTimestamp = existing.metadata.deletionTimestamp;
    validate(type, object);
    // What changes nothing writes nothing: the version stays.
    if (isDeepStrictEqual(object, existing)) return existing;
    return this.commit("MODIFIED", type, object as StoredObject, existing);
  }

  remove(
    type: ResourceType,
    namespace: string,
    name: string,
    preconditions: { uid?: string; resourceVersion?: string } = {},
  ): StoredObject {
    const existing = this.get(type, namespace, name);
    if (!existing) throw failure.notFound(type, name);
    const { uid, resourceVersion } = existing.metadata;
    if (preconditions.uid !== undefined && preconditions.uid !== uid)
      throw failure.preconditionFailed(
        type,
        name,
        `the UID in the precondition (${preconditions.uid}) does not match the UID in record (${uid}). The object might have been deleted and then recreated`,
      );
    if (preconditions.resourceVersion !== undefined && preconditions.resourceVersion !== resourceVersion)
      throw failure.preconditionFailed(
        type,
        name,
        `the ResourceVersion in the precondition (${preconditions.resourceVersion}) does not match the ResourceVersion in record (${resourceVersion}). The object might have been modified`,
      );
    return this.commit("DELETED", type, copy(existing), existing);
  }

  /** Runs a write for its answer: everything is checked, nothing is stored or told. */
  dryRun<T>(write: () => T): T {
    this.dry = true;
    try {
      return write();
    } finally {
      this.dry = false;
    }
  }
  private dry = false;

  private commit(
    type: Commit["type"],
    resource: ResourceType,
    object: StoredObject,
    previous: StoredObject | undefined,
  ): StoredObject {
    if (this.dry) return object;
    object.metadata.resourceVersion = String(++this.version);
    const { namespace, name } = object.metadata;
    const key = keyOf(resource.resource, namespace, name);
    if (type === "DELETED") this.objects.delete(key);
    else this.objects.set(key, object);
    const commit: Commit = {
      type,
      resource: resource.resource,
      namespace,
      name,
      version: this.version,
      object,
      previous,
    };
    this.history.push(commit);
    if (this.history.length > historyLimit + 500) {
      const dropped = this.history.splice(0, 500);
      this.compacted = dropped.at(-1)?.version ?? this.compacted;
    }
    this.write(type, key, object);
    this.onCommit(commit);
    return object;
  }

  private write(type: Commit["type"], key: string, object: StoredObject): void {
    if (this.journal === undefined || this.folder === undefined) return;
    writeSync(
      this.journal,
      JSON.stringify({ version: this.version, key, object: type === "DELETED" ? null : object }) + "\n",
    );
    if (++this.journalLines > journalLimit) this.rewrite(this.folder);
  }
  private rewrite(folder: string): void {
    const lines = [...this.objects].map(
      ([key, object]) => JSON.stringify({ version: this.version, key, object }) + "\n",
    );
    const temporary = join(folder, "journal.jsonl.tmp");
    writeFileSync(temporary, lines.join("") + JSON.stringify({ version: this.version }) + "\n");
    renameSync(temporary, join(folder, "journal.jsonl"));
    this.close();
    this.journal = openSync(join(folder, "journal.jsonl"), "a");
    this.journalLines = lines.length;
  }
  private load(folder: string): void {
    mkdirSync(folder, { recursive: true });
    const path = join(folder, "journal.jsonl");
    if (existsSync(path)) {
      const lines = readFileSync(path, "utf8").split("\n");
      lines.pop(); // What follows the last newline was never answered.
      for (const line of lines) {
        const entry = JSON.parse(line) as { version: number; key?: string; object?: StoredObject | null };
        this.version = entry.version;
        if (entry.key !== undefined && entry.object) this.objects.set(entry.key, entry.object);
        else if (entry.key !== undefined) this.objects.delete(entry.key);
      }
    }
    this.compacted = this.version;
    this.rewrite(folder);
  }
}

/** @throws Error for a resource that is not served */
export function resourceType(resource: string): ResourceType {
  const type = resourceTypes.find((entry) => entry.resource === resource);
  if (!type)
    throw new Error(`the API serves ${resourceTypes.map((entry) => entry.resource).join(", ")}; got ${resource}`);
  return type;
}
