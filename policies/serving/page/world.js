/**
 * What the page needs of a world, wherever that runs: this file is the contract, and no code.
 *
 * A module that brings a world exports `open(): Promise<World>`; `index.html` names it in `data-world`. What a world
 * cannot do, its `about` says, and the page does not show it: then the methods for it may be missing.
 *
 * @typedef {object} World
 * @property {About} about What its numbers mean and what it can do.
 * @property {(options: {seed: number, task?: string, twin?: boolean}) => Promise<Run>} begin A new run from a start.
 * @property {EventTarget} [events] Says "lost", "open" and "refused" where there is a connection.
 *
 * @typedef {object} Run One world that goes on. Its moments are numbered from 0.
 * @property {Moment} now The latest moment.
 * @property {(action: number[]) => Promise<Moment>} step One action further.
 * @property {(properties: Object<string, number>) => Promise<Moment>} [edit] Other physics from now on, where
 *     `about.properties` has any.
 * @property {(step: number) => Promise<Run>} branch A run of its own that goes on from an earlier moment.
 * @property {(goal: Goal, show: (moments: Moment[]) => void, signal: AbortSignal) => Promise<Plan>} [plan] Where
 *     `about.plans`: actions that lead to a goal, from now; `show` is told of each piece that was imagined,
 *     and nothing is done yet.
 * @property {(first: number, last: number) => Promise<Blob>} [episode] Where `about.saves.episode`: these moments
 *     as an episode file.
 * @property {(first: number, last: number, twin: boolean) => Promise<Blob>} [film] Where `about.saves.film`: the
 *     same as a film, with the twin beside it or without.
 * @property {() => Promise<void>} close Forget the run.
 *
 * @typedef {object} Moment
 * @property {number} step
 * @property {number[] | null} action What led here, null for a start.
 * @property {Picture[]} pictures One of each camera, in the order of `about.cameras`.
 * @property {number[]} telemetry
 * @property {(number | null)[][]} objects Place of each thing, of three numbers; null where it is unknown.
 * @property {number | null} uncertainty Expected error, in `about.uncertainty.unit`; null of a world that lost its way.
 * @property {number} [reward]
 * @property {boolean} [success]
 * @property {Object<string, number>} properties Physics by name.
 * @property {{pictures: Picture[], telemetry: number[], objects: (number | null)[][], success: boolean}} [twin] The same
 *     moment of the physics twin, where there is one.
 *
 * @typedef {{width: number, height: number, data: Uint8Array}} Picture Bytes are red, green, blue, row by row.
 *
 * @typedef {object} Goal Where things or the robot's hand should be; the frame is that of `about.object_frame`.
 * @property {Object<string, number[]>} [objects] By name.
 * @property {number[]} [effector]
 *
 * @typedef {{actions: number[][], moments: Moment[], distance: number | null, reached: boolean}} Plan What to do, what is
 *     imagined to come of it, and how far from the goal that ends, which may be near enough.
 *
 * @typedef {object} About
 * @property {string} model
 * @property {number} rate Steps per second.
 * @property {Camera[]} cameras
 * @property {Action[]} actions
 * @property {{name: string, unit: string, low: number, high: number}[]} telemetry
 * @property {string[]} objects
 * @property {"metres" | "image"} object_frame
 * @property {number[]} effector Columns of the telemetry that say where the hand is.
 * @property {{unit: string, limit: number}} uncertainty From `limit` on, what is shown may be invented.
 * @property {string[]} tasks
 * @property {string | null} task
 * @property {{name: string, low: number, high: number, default: number | null}[]} properties
 * @property {boolean} [twin] Whether runs may have a physics twin beside them.
 * @property {boolean} [plans] Whether runs can plan.
 * @property {{episode?: string, film?: string}} [saves] Files that runs give, by what their names end in.
 *
 * @typedef {object} Camera
 * @property {string} name
 * @property {number} width
 * @property {number} height
 * @property {{position: number[], rotation: number[][], fovy: number}} [calibration] Where it stands and looks.
 *
 * @typedef {object} Action
 * @property {string} name
 * @property {string} unit
 * @property {number} low
 * @property {number} high
 * @property {{telemetry: number, scale: number} | null} target Of a target, where the robot stays.
 * @property {boolean} switched Whether it is at one of its ends, as a gripper is.
 * @property {string[]} [raise] Keys of its own, by `KeyboardEvent.key`.
 * @property {string[]} [lower]
 */

export {};
