// Starts `spc lsp` and connects the editor to it. Everything else is in the server.
import { ExtensionContext, commands, window, workspace } from "vscode";
import { LanguageClient, LanguageClientOptions, ServerOptions } from "vscode-languageclient/node";

let client: LanguageClient | undefined;

async function start(): Promise<void> {
  const command = workspace.getConfiguration("spc").get<string>("path", "spc");
  const server: ServerOptions = { command, args: ["lsp"] };
  const options: LanguageClientOptions = {
    documentSelector: [{ language: "spc" }],
    // Weights and data that a program names, so that their shapes are read again when they change.
    synchronize: { fileEvents: workspace.createFileSystemWatcher("**/*.{sp,safetensors,npy,npz,csv}") },
  };
  client = new LanguageClient("spc", "spc", server, options);
  try {
    await client.start();
  } catch (error) {
    client = undefined;
    const choice = await window.showErrorMessage(
      `spc: \`${command} lsp\` did not start (${String(error)}). Colours work without it.`,
      "Set the path",
    );
    if (choice) {
      await commands.executeCommand("workbench.action.openSettings", "spc.path");
    }
  }
}

async function stop(): Promise<void> {
  const running = client;
  client = undefined;
  await running?.stop();
}

async function restart(): Promise<void> {
  await stop();
  await start();
}

export async function activate(context: ExtensionContext): Promise<void> {
  context.subscriptions.push(
    commands.registerCommand("spc.restart", restart),
    workspace.onDidChangeConfiguration(async (change) => {
      if (change.affectsConfiguration("spc.path")) {
        await restart();
      }
    }),
  );
  await start();
}

export async function deactivate(): Promise<void> {
  await stop();
}
