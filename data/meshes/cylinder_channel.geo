// The channel of the DFG benchmark "flow around a cylinder" (Schäfer and Turek, 1996): 2.2 x 0.41, a cylinder of radius 0.05
// around (0.2, 0.2). `gmsh -2 -format msh22 cylinder_channel.geo` makes the mesh; with `-setnumber far 0.03 -setnumber wake 0.02
// -o cylinder_wake.msh` it makes the one for vortex streets, fine in the wake. `-setnumber near 0.04 -setnumber far 0.12 -setnumber
// wake 0.09 -o cylinder_coarse.msh` makes one to be refined, which begins a multigrid hierarchy.
SetFactory("OpenCASCADE");
length = 2.2; height = 0.41; radius = 0.05;
DefineConstant[ near = 0.006, far = 0.05, wake = far ];

Rectangle(1) = {0, 0, 0, length, height};
Disk(2) = {0.2, 0.2, 0, radius};
BooleanDifference(3) = { Surface{1}; Delete; }{ Surface{2}; Delete; };

eps = 1e-6;
inflow() = Curve In BoundingBox{-eps, -eps, -eps, eps, height + eps, eps};
outflow() = Curve In BoundingBox{length - eps, -eps, -eps, length + eps, height + eps, eps};
bottom() = Curve In BoundingBox{-eps, -eps, -eps, length + eps, eps, eps};
top() = Curve In BoundingBox{-eps, height - eps, -eps, length + eps, height + eps, eps};
cylinder() = Curve In BoundingBox{0.1, 0.1, -eps, 0.3, 0.3, eps};

Physical Curve("inflow", 1) = inflow();
Physical Curve("outflow", 2) = outflow();
Physical Curve("walls", 3) = {bottom(), top()};
Physical Curve("cylinder", 4) = cylinder();
Physical Surface("fluid", 5) = {3};

Field[1] = Distance; Field[1].CurvesList = {cylinder()}; Field[1].Sampling = 200;
Field[2] = Threshold; Field[2].InField = 1; Field[2].SizeMin = near; Field[2].SizeMax = far; Field[2].DistMin = 0.0; Field[2].DistMax = 0.35;
Field[3] = Box; Field[3].VIn = wake; Field[3].VOut = far; Field[3].Thickness = 0.1;
Field[3].XMin = 0.2; Field[3].XMax = length; Field[3].YMin = 0.05; Field[3].YMax = height - 0.05;
Field[4] = Min; Field[4].FieldsList = {2, 3};
Background Field = 4;
Mesh.MeshSizeExtendFromBoundary = 0; Mesh.MeshSizeFromPoints = 0; Mesh.MeshSizeFromCurvature = 0;
Mesh.Algorithm = 6;
