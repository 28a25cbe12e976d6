// TimescaleDB's engine in WebAssembly behind a socket; prints its port once it listens.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.argv[2]}/`);
const load = async (name) => import(pathToFileURL(require.resolve(name)));
const { PGlite } = await load("@electric-sql/pglite");
const { timescaledb } = await load("@electric-sql/pglite/timescaledb");
const { PGLiteSocketServer } = await load("@electric-sql/pglite-socket");

const db = await PGlite.create({ extensions: { timescaledb } });
const server = new PGLiteSocketServer({ db, port: 0, host: "127.0.0.1" });
server.addEventListener("listening", (event) => console.log(event.detail?.port ?? ""));
await server.start();
