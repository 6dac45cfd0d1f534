// The steps of a walk: each is told when it is done, and the first that fails ends the program.

export class Walk {
  passed = 0;

  constructor(vaultURL) {
    this.vaultURL = vaultURL;
  }

  async step(name, run) {
    try {
      await run();
    } catch (error) {
      throw new Error(`${name}: ${error.name}: ${error.message}`, { cause: error });
    }
    this.passed++;
    console.log(`ok  ${name}`);
  }
}

// differ throws the name of what is not as it should be, and never what it is: it may be a secret.
export function differ(asItShould) {
  for (const [what, holds] of Object.entries(asItShould)) {
    if (holds !== true) {
      throw new Error(`not as it should be: ${what}`);
    }
  }
}
