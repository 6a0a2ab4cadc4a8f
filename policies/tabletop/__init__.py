"""What scripts of worlds on a table share: motions of the hand, and the policy that runs scripts."""
