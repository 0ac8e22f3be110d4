// A client that knows nothing of ours but the proto files: scores a lead, asks when to write, lets
// the service learn. Prints what it was told as one JSON object.
//
// Usage: node foreign_client.mjs HOST:PORT CLIENT_ID

import path from "node:path";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const here = path.dirname(fileURLToPath(import.meta.url));
const protos = path.join(here, "..", "..", "proto");
const [target, clientId] = process.argv.slice(2);

const definition = protoLoader.loadSync(
  ["scoring", "recommendation", "learning"].map((name) => `cis/v1/${name}_service.proto`),
  { includeDirs: [protos], keepCase: true, longs: Number, enums: String, defaults: false, oneofs: true },
);
const { v1 } = grpc.loadPackageDefinition(definition).cis;
const credentials = grpc.credentials.createInsecure();
const scoring = new v1.ScoringService(target, credentials);
const recommendations = new v1.RecommendationService(target, credentials);
const learning = new v1.LearningService(target, credentials);

const deadline = (seconds) => ({ deadline: Date.now() + seconds * 1000 });

function unary(stub, method, request) {
  return new Promise((resolve, reject) => {
    stub[method](request, new grpc.Metadata(), deadline(10), (error, answer) =>
      error ? reject(error) : resolve(answer),
    );
  });
}

function stream(stub, method, request) {
  return new Promise((resolve, reject) => {
    const answers = [];
    const call = stub[method](request, new grpc.Metadata(), deadline(120));
    call.on("data", (answer) => answers.push(answer));
    call.on("error", reject);
    call.on("end", () => resolve(answers));
  });
}

async function refusal(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    const details = error.metadata?.get("grpc-status-details-bin") ?? [];
    return { code: grpc.status[error.code], message: error.details, has_details: details.length > 0 };
  }
}

const lead = {
  lead_id: "node-1",
  title: "Chief Executive Officer",
  email: "ceo@target.example",
  email_status: "EMAIL_STATUS_VERIFIED",
  industry: "Software",
  employee_count: 20,
  country: "Australia",
  is_hiring: true,
  attributes: { source: "webinar" },
};

const told = {
  score: await unary(scoring, "ScoreLead", { client_id: clientId, lead }),
  timing: await unary(recommendations, "GetTiming", {
    client_id: clientId,
    timezone: "America/New_York",
    count: 3,
  }),
  refused: await refusal(
    unary(scoring, "ScoreLead", { client_id: clientId, lead: { ...lead, employee_count: -1 } }),
  ),
  unknown: await refusal(unary(scoring, "ScoreLead", { client_id: "nobody", lead })),
  learned: await stream(learning, "Learn", { client_id: clientId, dry_run: true }),
};
process.stdout.write(JSON.stringify(told));
for (const stub of [scoring, recommendations, learning]) stub.close();
