// Sends raw messages through nodemailer's pool.
// Arguments: port, connections, repeats, files…; file i goes to b<i>@example.test, each repeat once.
// NODEMAILER_OPTIONS may hold more of nodemailer's options, such as `auth` and `tls`, in JSON.
// Prints how many were accepted.
"use strict";
const fs = require("fs");
const nodemailer = require("nodemailer");

const options = JSON.parse(process.env.NODEMAILER_OPTIONS || "{}");
const [port, connections, repeats, ...files] = process.argv.slice(2);
const transport = nodemailer.createTransport({
  host: "127.0.0.1",
  port: Number(port),
  pool: true,
  maxConnections: Number(connections),
  maxMessages: Infinity,
  ignoreTLS: true,
  ...options,
});

async function main() {
  const sends = [];
  for (let repeat = 0; repeat < Number(repeats); repeat++) {
    files.forEach((file, i) =>
      sends.push(
        transport.sendMail({
          envelope: { from: "a@example.test", to: [`b${i}@example.test`] },
          raw: fs.readFileSync(file),
        }),
      ),
    );
  }
  const answers = await Promise.all(sends);
  console.log(answers.filter((answer) => answer.response.startsWith("250")).length);
  transport.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
