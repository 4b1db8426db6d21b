/** The chain as all nodes agree on it: a tip that moves on, or rounds that pass while the chain is halted. */
import { blockMs, type Scene } from "./scene";

export class SimulatedChain {
  tip = 1000;
  tipSinceMs = 0;
  round = 0;
  private halted = false;

  constructor(private readonly scene: Scene) {
    scene.world.after(blockMs, () => this.step());
  }

  private step(): void {
    const { world, features, faults } = this.scene;
    if (faults && features.halts && world.chance(0.2)) this.halted = true;
    if (this.halted && (!faults || world.chance(0.05))) this.halted = false;
    if (this.halted) this.round++;
    else {
      this.tip++;
      this.tipSinceMs = world.now;
      this.round = world.chance(0.15) ? 1 : 0;
    }
    const pauseMs = this.halted ? this.round * 500 : this.round > 0 ? 3000 : 0;
    world.after(blockMs + pauseMs, () => this.step());
  }
}
